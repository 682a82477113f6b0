// What the tests share: the official Go SDK set up as its users do it, sources with new names, files, and a gateway in front.
package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	sailpoint "github.com/sailpoint-oss/golang-sdk/v2"
	beta "github.com/sailpoint-oss/golang-sdk/v2/api_beta"
)

const header = "id,name,givenName,familyName,e-mail,location,manager,groups,startDate,endDate"

var ctx = context.Background()

// newClient is the SDK with what SAIL_BASE_URL, SAIL_CLIENT_ID and SAIL_CLIENT_SECRET say, as its own documentation
// starts it. The HTTP client keeps its defaults, which are four retries; only its log is off.
func newClient(change ...func(*sailpoint.Configuration)) *sailpoint.APIClient {
	configuration := sailpoint.NewDefaultConfiguration()
	configuration.Experimental = true
	configuration.HTTPClient = retryablehttp.NewClient()
	configuration.HTTPClient.Logger = nil
	for _, apply := range change {
		apply(configuration)
	}
	return sailpoint.NewAPIClient(configuration)
}

// through sends everything but the token request by way of another address.
func through(address string) func(*sailpoint.Configuration) {
	return func(configuration *sailpoint.Configuration) {
		configuration.ClientConfiguration.BaseURL = address
		// The waits of the default are whole seconds; how often and what it repeats stays as it is.
		configuration.HTTPClient.RetryWaitMin = time.Millisecond
	}
}

// once is a client that gives the first answer to its caller, whatever it is.
func once(configuration *sailpoint.Configuration) {
	configuration.HTTPClient.RetryMax = 0
	configuration.HTTPClient.ErrorHandler = retryablehttp.PassthroughErrorHandler
}

// token asks for a token as any script does, and gives the answer.
func token(t *testing.T, id, secret string) map[string]any {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	answer, err := http.PostForm(os.Getenv("SAIL_BASE_URL")+"/oauth/token", form)
	must(t, err)
	defer answer.Body.Close()
	fields := map[string]any{}
	must(t, json.NewDecoder(answer.Body).Decode(&fields))
	equal(t, "status of the token", answer.StatusCode, 200)
	return fields
}

// owner is the identity of the client, which the model of a source demands.
var owner = sync.OnceValue(func() string {
	form := url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {os.Getenv("SAIL_CLIENT_ID")},
		"client_secret": {os.Getenv("SAIL_CLIENT_SECRET")},
	}
	answer, err := http.PostForm(os.Getenv("SAIL_BASE_URL")+"/oauth/token", form)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	fields := map[string]any{}
	_ = json.NewDecoder(answer.Body).Decode(&fields)
	return fmt.Sprint(fields["identity_id"])
})

func freshName() string {
	bytes := make([]byte, 6)
	_, _ = rand.Read(bytes)
	return "Go " + hex.EncodeToString(bytes)
}

// newSource makes a source of a connector, with the schema of a file when it is the one for files, and gives its id.
func newSource(t *testing.T, client *sailpoint.APIClient, connector string, attributes map[string]any) string {
	t.Helper()
	identity := beta.NewMultiHostIntegrationsOwner()
	identity.SetType("IDENTITY")
	identity.SetId(owner())
	body := beta.NewSource(freshName(), *identity, connector)
	if attributes != nil {
		body.SetConnectorAttributes(attributes)
	}
	isFile := connector == "delimited-file-angularsc"
	source, answer, err := client.Beta.SourcesAPI.CreateSource(ctx).Source(*body).ProvisionAsCsv(isFile).Execute()
	must(t, err)
	equal(t, "status of the new source", answer.StatusCode, 201)
	return source.GetId()
}

func fileSource(t *testing.T, client *sailpoint.APIClient) string {
	t.Helper()
	return newSource(t, client, "delimited-file-angularsc", nil)
}

// accounts writes a file of so many accounts and opens it, as the SDK wants it; the SDK closes it.
func accounts(t *testing.T, count int) *os.File {
	t.Helper()
	rows := make([]string, 0, count+1)
	rows = append(rows, header)
	for number := 1; number <= count; number++ {
		rows = append(rows, fmt.Sprintf("%04d,user-%04d,Given,Family,user-%04d@example.com,Site %d,,staff,2024-01-15,", number, number, number, number%3))
	}
	return fileOf(t, strings.Join(rows, "\n")+"\n")
}

func fileOf(t *testing.T, text string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.csv")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	file, err := os.Open(path)
	must(t, err)
	return file
}

// finished asks for a task until it has a completion status.
func finished(t *testing.T, client *sailpoint.APIClient, id string) *beta.TaskStatus {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		task, _, err := client.Beta.TaskManagementAPI.GetTaskStatus(ctx, id).Execute()
		must(t, err)
		if task.CompletionStatus.Get() != nil {
			return task
		}
	}
	t.Fatalf("The task %s does not end.", id)
	return nil
}

// gateway stands in front of Muster and passes everything on, once `refuse` has nothing to say. It counts the requests.
type gateway struct {
	url  string
	seen func() int
}

// newGateway answers a request by itself when `refuse` says so; `number` counts from 1. With `after` the request
// reaches Muster all the same, and only its answer is lost.
func newGateway(t *testing.T, after bool, refuse func(number int, answer http.ResponseWriter) bool) gateway {
	t.Helper()
	target, err := url.Parse(os.Getenv("SAIL_BASE_URL"))
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	var lock sync.Mutex
	count := 0
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		lock.Lock()
		count++
		number := count
		lock.Unlock()
		if after && number == 1 {
			lost := httptest.NewRecorder()
			proxy.ServeHTTP(lost, request)
			equal(t, "status of the answer that is lost", lost.Code, 202)
		}
		if !refuse(number, answer) {
			proxy.ServeHTTP(answer, request)
		}
	}))
	t.Cleanup(server.Close)
	return gateway{url: server.URL, seen: func() int {
		lock.Lock()
		defer lock.Unlock()
		return count
	}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var told *beta.GenericOpenAPIError
	if errors.As(err, &told) {
		t.Fatalf("%v: %s", err, told.Body())
	}
	t.Fatal(err)
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func holds(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Fatalf("%q does not hold %q", text, part)
	}
}
