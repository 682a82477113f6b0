// Sources, schemas, accounts and their lists through the packages of the SDK for /beta, /v3 and /v2025.
package conformance

import (
	"fmt"
	"regexp"
	"testing"

	sailpoint "github.com/sailpoint-oss/golang-sdk/v2"
	beta "github.com/sailpoint-oss/golang-sdk/v2/api_beta"
	v2025 "github.com/sailpoint-oss/golang-sdk/v2/api_v2025"
	v3 "github.com/sailpoint-oss/golang-sdk/v2/api_v3"
)

var sourceId = regexp.MustCompile(`^[0-9a-f]{32}$`)

func TestATokenOfTheSdkWorks(t *testing.T) {
	_, answer, err := newClient().V3.SourcesAPI.ListSources(ctx).Limit(1).Execute()
	must(t, err)
	equal(t, "status", answer.StatusCode, 200)
}

func TestSourcesOfBetaAreMadeReadAndChanged(t *testing.T) {
	client := newClient()
	id := fileSource(t, client)
	if !sourceId.MatchString(id) {
		t.Fatalf("%q is no id of a source", id)
	}
	source, _, err := client.Beta.SourcesAPI.GetSource(ctx, id).Execute()
	must(t, err)
	equal(t, "type", source.GetType(), "DelimitedFile")
	equal(t, "owner", source.Owner.GetId(), owner())

	operation := beta.NewJsonPatchOperation("replace", "/description")
	text := "changed by the Go SDK"
	operation.SetValue(beta.StringAsUpdateMultiHostSourcesRequestInnerValue(&text))
	changed, _, err := client.Beta.SourcesAPI.UpdateSource(ctx, id).JsonPatchOperation([]beta.JsonPatchOperation{*operation}).Execute()
	must(t, err)
	equal(t, "description", changed.GetDescription(), text)
}

func TestSourcesOfV3AreListedCountedAndDeleted(t *testing.T) {
	client := newClient()
	body := v3.NewSource(freshName(), v3.SourceOwner{}, "delimited-file-angularsc")
	body.Owner.SetType("IDENTITY")
	body.Owner.SetId(owner())
	source, _, err := client.V3.SourcesAPI.CreateSource(ctx).Source(*body).ProvisionAsCsv(true).Execute()
	must(t, err)

	filter := fmt.Sprintf("id eq %q", source.GetId())
	list, answer, err := client.V3.SourcesAPI.ListSources(ctx).Count(true).Filters(filter).Sorters("-created,name").Execute()
	must(t, err)
	equal(t, "sources", len(list), 1)
	equal(t, "name", list[0].Name, body.Name)
	equal(t, "X-Total-Count", answer.Header.Get("X-Total-Count"), "1")

	gone, answer, err := client.V3.SourcesAPI.DeleteSource(ctx, source.GetId()).Execute()
	must(t, err)
	equal(t, "status", answer.StatusCode, 202)
	equal(t, "type", gone.GetType(), "TASK_RESULT")
	finished(t, client, gone.GetId())
	_, answer, err = client.V3.SourcesAPI.GetSource(ctx, source.GetId()).Execute()
	if err == nil || answer.StatusCode != 404 {
		t.Fatalf("The source is still there: %v", answer.Status)
	}
}

func TestSchemasOfANewFileSource(t *testing.T) {
	client := newClient()
	schemas, _, err := client.V3.SourcesAPI.GetSourceSchemas(ctx, fileSource(t, client)).Execute()
	must(t, err)
	equal(t, "schemas", len(schemas), 1)
	equal(t, "name", schemas[0].GetName(), "account")
	equal(t, "identity attribute", schemas[0].GetIdentityAttribute(), "id")
	equal(t, "attributes", len(schemas[0].Attributes), 10)
}

func TestAccountsAreFilteredSortedPagedAndCounted(t *testing.T) {
	client := newClient()
	id := fileSource(t, client)
	submitted, _, err := client.Beta.SourcesAPI.ImportAccounts(ctx, id).File(accounts(t, 7)).Execute()
	must(t, err)
	finished(t, client, submitted.Task.GetId())

	filter := fmt.Sprintf("sourceId eq %q", id)
	page, answer, err := client.V3.AccountsAPI.ListAccounts(ctx).Count(true).Limit(2).Offset(2).Filters(filter).Sorters("-name").Execute()
	must(t, err)
	equal(t, "X-Total-Count", answer.Header.Get("X-Total-Count"), "7")
	equal(t, "accounts", len(page), 2)
	equal(t, "third from the end", *page[0].Name.Get(), "user-0005")
	equal(t, "attribute", fmt.Sprint(page[0].Attributes["location"]), "Site 2")
	equal(t, "uncorrelated", page[0].Uncorrelated, true)

	one, _, err := client.V3.AccountsAPI.ListAccounts(ctx).Filters(filter + ` and nativeIdentity eq "0003"`).DetailLevel("SLIM").Execute()
	must(t, err)
	equal(t, "accounts", len(one), 1)
	equal(t, "nativeIdentity", one[0].NativeIdentity, "0003")

	older, _, err := client.Beta.AccountsAPI.ListAccounts(ctx).Filters(filter).Limit(1).Execute()
	must(t, err)
	equal(t, "accounts of beta", len(older), 1)
}

func TestThePaginatorOfTheSdkFindsEveryAccount(t *testing.T) {
	client := newClient()
	id := fileSource(t, client)
	submitted, _, err := client.Beta.SourcesAPI.ImportAccounts(ctx, id).File(accounts(t, 25)).Execute()
	must(t, err)
	finished(t, client, submitted.Task.GetId())
	request := client.V3.AccountsAPI.ListAccounts(ctx).Filters(fmt.Sprintf("sourceId eq %q", id)).Sorters("id")
	all, _, err := sailpoint.Paginate[v3.Account](request, 0, 10, 100)
	must(t, err)
	seen := map[string]bool{}
	for _, account := range all {
		seen[account.NativeIdentity] = true
	}
	equal(t, "accounts", len(all), 25)
	equal(t, "different accounts", len(seen), 25)
}

func TestV2025AggregatesAndTells(t *testing.T) {
	client := newClient()
	body := v2025.NewSource(freshName(), v2025.SourceOwner{}, "delimited-file-angularsc")
	body.Owner.SetType("IDENTITY")
	body.Owner.SetId(owner())
	source, _, err := client.V2025.SourcesAPI.CreateSource(ctx).Source(*body).ProvisionAsCsv(true).Execute()
	must(t, err)
	submitted, answer, err := client.V2025.SourcesAPI.ImportAccounts(ctx, source.GetId()).File(accounts(t, 3)).Execute()
	must(t, err)
	equal(t, "status", answer.StatusCode, 202)
	id := submitted.Task.GetId()
	finished(t, client, id)
	task, _, err := client.V2025.TaskManagementAPI.GetTaskStatus(ctx, id).XSailPointExperimental("true").Execute()
	must(t, err)
	equal(t, "completionStatus", *task.CompletionStatus.Get(), "SUCCESS")
	status, _, err := client.V2025.AccountAggregationsAPI.GetAccountAggregationStatus(ctx, id).XSailPointExperimental("true").Execute()
	must(t, err)
	equal(t, "status of the aggregation", status.GetStatus(), "COMPLETED")
	equal(t, "total accounts", status.GetTotalAccounts(), 3)
}

func TestAWrongSecretGivesNoToken(t *testing.T) {
	client := newClient(once, func(configuration *sailpoint.Configuration) {
		configuration.ClientConfiguration.ClientSecret = "wrong"
	})
	_, answer, err := client.V3.SourcesAPI.ListSources(ctx).Execute()
	if err == nil {
		t.Fatal("The call was not refused.")
	}
	// This release does not look at the status of the token request and goes on without a token.
	equal(t, "status", answer.StatusCode, 401)
}
