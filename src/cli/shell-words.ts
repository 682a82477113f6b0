// A line of bash as its words, for completion: what bash itself takes apart at = and : is no word of ours.

/** The words of a line; the last one is where the cursor stands and may be empty, or lack its closing quote. */
export function shellWords(line: string): readonly string[] {
  const words: string[] = []
  let word = ''
  let quote = ''
  let isOpen = false
  for (let at = 0; at < line.length; at += 1) {
    const character = line[at] ?? ''
    if (character === '\\' && quote !== "'") {
      at += 1
      word += line[at] ?? ''
      isOpen = true
    } else if (quote !== '') {
      if (character === quote) quote = ''
      else word += character
    } else if (character === '"' || character === "'") {
      quote = character
      isOpen = true
    } else if (character === ' ' || character === '\t') {
      if (isOpen) words.push(word)
      word = ''
      isOpen = false
    } else {
      word += character
      isOpen = true
    }
  }
  return [...words, word]
}
