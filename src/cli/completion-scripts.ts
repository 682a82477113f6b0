// The scripts that shells load. Each asks `muster __complete` for what may come next, so that none of them can be out of date.

/** The shells that can be served. */
export const shells = ['bash', 'zsh', 'fish', 'powershell'] as const
export type Shell = (typeof shells)[number]

// A line of an answer is a word, a tab and what it means; the last line is `:files` or `:words`.
const bash = String.raw`# muster completion for bash: source <(muster completion bash)
_muster_complete() {
  local current line word files=0 tick=$'\x60'
  current="${'$'}{COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=()
  # Bash takes words apart at = and :, which are parts of ours, so the line goes over whole.
  while IFS= read -r line; do
    case "$line" in
      :files) files=1 ;;
      :words) ;;
      *)
        word="${'$'}{line%%${'$'}'\t'*}"
        [[ $COMP_WORDBREAKS == *=* ]] && word="${'$'}{word#--*=}"
        # A name of several words goes onto the line as one, by quotes that are there or by escapes.
        case "$current" in
          \"*)
            word="${'$'}{word//\\/\\\\}"
            word="${'$'}{word//\"/\\\"}"
            word="${'$'}{word//\$/\\\$}"
            word="${'$'}{word//$tick/\\$tick}"
            ;;
          \'*) word="${'$'}{word//\'/\'\\\'\'}" ;;
          *) printf -v word '%q' "$word" ;;
        esac
        COMPREPLY+=("$word")
        ;;
    esac
  done < <("${'$'}{COMP_WORDS[0]}" __complete --line "${'$'}{COMP_LINE:0:COMP_POINT}" 2>/dev/null)
  if [ "$files" = 1 ]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
  fi
}
complete -F _muster_complete muster
`

const zsh = String.raw`#compdef muster
# muster completion for zsh: source <(muster completion zsh), or a file _muster in a folder of $fpath
_muster() {
  local -a found
  local line word meaning files=0
  while IFS= read -r line; do
    case "$line" in
      :files) files=1 ;;
      :words) ;;
      *)
        word="${'$'}{line%%${'$'}'\t'*}"
        meaning="${'$'}{line#*${'$'}'\t'}"
        found+=("${'$'}{word//:/\\:}:${'$'}{meaning}")
        ;;
    esac
  done < <("${'$'}{words[1]}" __complete "${'$'}{(@Q)words[2,CURRENT]}" 2>/dev/null)
  (( ${'$'}{#found} )) && _describe -V 'muster' found
  (( files )) && _files
  return 0
}
# Loaded from $fpath it is the function itself; sourced it has to be made known.
if [ "${'$'}{funcstack[1]}" = "_muster" ]; then _muster "$@"; else compdef _muster muster; fi
`

const fish = String.raw`# muster completion for fish: muster completion fish | source
function __muster_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l command $words[1]
    set -e words[1]
    for line in ($command __complete $words 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path (commandline -ct)
            case ':words'
            case '*'
                echo $line
        end
    end
end
complete -c muster -f -a '(__muster_complete)'
`

const powershell = String.raw`# muster completion for PowerShell: muster completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName muster -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
        ForEach-Object { if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { $_.Extent.Text } })
    $command = $words[0]
    $words = @($words | Select-Object -Skip 1)
    # An empty word in front of the cursor is no element of the line, and PowerShell before 7.3 drops empty arguments.
    if ($wordToComplete -eq '') { $words += '__empty__' }
    foreach ($line in @(& $command __complete @words 2>$null)) {
        if ($line -eq ':files') {
            [System.Management.Automation.CompletionCompleters]::CompleteFilename($wordToComplete)
            continue
        }
        if ($line -eq ':words') { continue }
        $word, $meaning = $line -split "${'`'}t", 2
        if (-not $meaning) { $meaning = $word }
        $text = if ($word -match '^[\w./=-]+$') { $word } else { "'" + $word.Replace("'", "''") + "'" }
        [System.Management.Automation.CompletionResult]::new($text, $word, 'ParameterValue', $meaning)
    }
}
`

/** The script of a shell. */
export const completionScripts: Readonly<Record<Shell, string>> = { bash, zsh, fish, powershell }
