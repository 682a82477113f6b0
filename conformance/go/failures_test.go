// What the SDK makes of refusals, and what its retries do: of 429 with Muster's own limit, of 502, and of a lost answer.
package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"

	sailpoint "github.com/sailpoint-oss/golang-sdk/v2"
	beta "github.com/sailpoint-oss/golang-sdk/v2/api_beta"
)

const nobody = "00000000000000000000000000000000"

// refused checks the status and that the SDK decoded the model of the contract, whose messages say `part`.
func refused(t *testing.T, answer *http.Response, err error, status int, part string) {
	t.Helper()
	if err == nil {
		t.Fatalf("It was not refused: %s", answer.Status)
	}
	equal(t, "status", answer.StatusCode, status)
	var told *beta.GenericOpenAPIError
	if !errors.As(err, &told) {
		t.Fatalf("%T is no error of the SDK: %v", err, err)
	}
	holds(t, string(told.Body()), part)
	if status == 401 || status == 429 {
		return
	}
	model := beta.ErrorResponseDto{}
	if decoded, ok := told.Model().(beta.ErrorResponseDto); ok {
		model = decoded
	} else {
		// Operations that do not list this status leave the body to their caller.
		must(t, json.Unmarshal(told.Body(), &model))
	}
	holds(t, model.GetDetailCode(), fmt.Sprint(status))
	equal(t, "tracking id", len(model.GetTrackingId()), 32)
	if len(model.Messages) == 0 {
		t.Fatal("There is no message.")
	}
}

func TestErrorsAreDecodedByTheirCode(t *testing.T) {
	client := newClient()
	t.Run("400 for a filter that nobody knows", func(t *testing.T) {
		_, answer, err := client.Beta.SourcesAPI.ListSources(ctx).Filters(`colour eq "red"`).Execute()
		refused(t, answer, err, 400, "colour")
	})
	t.Run("404 for a source that is not there", func(t *testing.T) {
		_, answer, err := client.Beta.SourcesAPI.GetSource(ctx, nobody).Execute()
		refused(t, answer, err, 404, "There is no source")
	})
	t.Run("404 for a file to a source that is not there", func(t *testing.T) {
		_, answer, err := client.Beta.SourcesAPI.ImportAccounts(ctx, nobody).File(accounts(t, 1)).Execute()
		refused(t, answer, err, 404, "There is no source")
	})
	t.Run("404 for the status of no aggregation", func(t *testing.T) {
		_, answer, err := client.Beta.AccountAggregationsAPI.GetAccountAggregationStatus(ctx, nobody).Execute()
		refused(t, answer, err, 404, "There is no task")
	})
	t.Run("401 for a token that is none", func(t *testing.T) {
		stranger := newClient(once, func(configuration *sailpoint.Configuration) {
			configuration.ClientConfiguration.Token = "no-token"
		})
		_, answer, err := stranger.Beta.SourcesAPI.ListSources(ctx).Execute()
		// The model of this release wants an object where the contract has a text, so the text is in the body.
		refused(t, answer, err, 401, `"error"`)
	})
	t.Run("403 for a source of somebody else", func(t *testing.T) {
		own, other := fileSource(t, client), fileSource(t, client)
		confined := newClient(credentials(t, own))
		_, _, err := confined.Beta.SourcesAPI.GetSource(ctx, own).Execute()
		must(t, err)
		_, answer, err := confined.Beta.SourcesAPI.ImportAccounts(ctx, other).File(accounts(t, 1)).Execute()
		if answer.StatusCode != 403 && answer.StatusCode != 404 {
			t.Fatalf("It was not refused: %s", answer.Status)
		}
		refused(t, answer, err, answer.StatusCode, "detailCode")
	})
}

// credentials makes a client that may do everything with one source and nothing with the others.
func credentials(t *testing.T, id string) func(*sailpoint.Configuration) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"name": freshName(), "level": "SOURCE_SUBADMIN", "sourceIds": []string{id}})
	must(t, err)
	request, err := http.NewRequest(http.MethodPost, os.Getenv("SAIL_BASE_URL")+"/muster/v1/clients", bytes.NewReader(body))
	must(t, err)
	request.Header.Set("Content-Type", "application/json")
	secret := token(t, os.Getenv("SAIL_CLIENT_ID"), os.Getenv("SAIL_CLIENT_SECRET"))["access_token"]
	request.Header.Set("Authorization", fmt.Sprintf("Bearer %s", secret))
	answer, err := http.DefaultClient.Do(request)
	must(t, err)
	defer answer.Body.Close()
	made := struct{ Id, Secret string }{}
	must(t, json.NewDecoder(answer.Body).Decode(&made))
	return func(configuration *sailpoint.Configuration) {
		configuration.ClientConfiguration.ClientId = made.Id
		configuration.ClientConfiguration.ClientSecret = made.Secret
	}
}

func TestABrokenGatewayIsRetried(t *testing.T) {
	front := newGateway(t, false, func(number int, answer http.ResponseWriter) bool {
		if number <= 3 {
			answer.WriteHeader(http.StatusBadGateway)
		}
		return number <= 3
	})
	_, _, err := newClient(through(front.url)).V3.SourcesAPI.ListSources(ctx).Limit(1).Execute()
	must(t, err)
	equal(t, "requests", front.seen(), 4)
}

func TestASubmitWhoseAnswerWasLostIsNoSecondRun(t *testing.T) {
	direct := newClient()
	// A run that takes its time, so that it is still there when the SDK asks again.
	id := newSource(t, direct, "chaos", map[string]any{"records": 400, "pageSize": 10, "behaviour": "slow"})
	front := newGateway(t, true, func(number int, answer http.ResponseWriter) bool {
		if number == 1 {
			answer.WriteHeader(http.StatusServiceUnavailable)
		}
		return number == 1
	})
	submitted, answer, err := newClient(through(front.url)).Beta.SourcesAPI.ImportAccounts(ctx, id).DisableOptimization("true").Execute()
	must(t, err)
	equal(t, "status", answer.StatusCode, 202)
	equal(t, "requests", front.seen(), 2)
	tasks, _, err := direct.Beta.TaskManagementAPI.GetTaskStatusList(ctx).Filters(fmt.Sprintf("sourceId eq %q", id)).Execute()
	must(t, err)
	equal(t, "tasks of the source", len(tasks), 1)
	equal(t, "its id", tasks[0].Id, submitted.Task.GetId())
	ended := finished(t, direct, submitted.Task.GetId())
	equal(t, "created accounts", fmt.Sprint(ended.Attributes["created"]), "400")
}

func TestAFileThatWasRefusedBy429IsSentAgainWhole(t *testing.T) {
	direct := newClient()
	id := fileSource(t, direct)
	front := newGateway(t, false, func(number int, answer http.ResponseWriter) bool {
		if number == 1 {
			answer.Header().Set("Retry-After", "1")
			answer.WriteHeader(http.StatusTooManyRequests)
		}
		return number == 1
	})
	submitted, _, err := newClient(through(front.url)).Beta.SourcesAPI.ImportAccounts(ctx, id).File(accounts(t, 50)).Execute()
	must(t, err)
	equal(t, "requests", front.seen(), 2)
	ended := finished(t, direct, submitted.Task.GetId())
	equal(t, "created accounts", fmt.Sprint(ended.Attributes["created"]), "50")
}

// A server of its own has the limit that ISC has: 100 requests of a client in ten seconds. The SDK waits as Retry-After says.
func TestTheLimitOfMusterIsWaitedFor(t *testing.T) {
	limited := os.Getenv("MUSTER_LIMITED_URL")
	if limited == "" {
		t.Skip("MUSTER_LIMITED_URL names no server with a limit.")
	}
	client := newClient(func(configuration *sailpoint.Configuration) {
		configuration.ClientConfiguration.BaseURL = limited
		configuration.ClientConfiguration.TokenURL = limited + "/oauth/token"
	})
	for range 105 {
		_, answer, err := client.V3.SourcesAPI.ListSources(ctx).Limit(1).Execute()
		must(t, err)
		equal(t, "status", answer.StatusCode, 200)
	}
}
