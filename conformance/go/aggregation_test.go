// Account aggregation through SourcesAPI.ImportAccounts of /beta: with a file, without one, and with an empty one.
package conformance

import (
	"fmt"
	"testing"

	sailpoint "github.com/sailpoint-oss/golang-sdk/v2"
	beta "github.com/sailpoint-oss/golang-sdk/v2/api_beta"
)

func TestAFileIsAggregatedAndEveryFieldOfTheTaskIsDecoded(t *testing.T) {
	client := newClient()
	id := fileSource(t, client)
	submitted, answer, err := client.Beta.SourcesAPI.ImportAccounts(ctx, id).File(accounts(t, 5)).Execute()
	must(t, err)
	equal(t, "status", answer.StatusCode, 202)
	equal(t, "success", submitted.GetSuccess(), true)
	task := submitted.Task
	equal(t, "type", task.GetType(), "QUARTZ")
	equal(t, "name", task.GetName(), "Cloud Account Aggregation")
	equal(t, "source", task.Attributes.GetAppId(), id)
	equal(t, "optimizedAggregation", task.Attributes.GetOptimizedAggregation(), "enabled")
	equal(t, "created is a time", task.Created.IsZero(), false)
	equal(t, "return values", len(task.Returns), 28)
	equal(t, "first return value", task.Returns[0].GetDisplayLabel(), "TASK_OUT_ACCOUNT_AGGREGATION_APPLICATIONS")
	if task.Messages == nil {
		t.Fatal("messages are absent")
	}

	ended := finished(t, client, task.GetId())
	equal(t, "completionStatus", *ended.CompletionStatus.Get(), "SUCCESS")
	equal(t, "uniqueName", ended.UniqueName, "Cloud Account Aggregation")
	equal(t, "created accounts", fmt.Sprint(ended.Attributes["created"]), "5")
	equal(t, "return values", len(ended.Returns), 28)
	equal(t, "first return value", ended.Returns[0].Name, "TASK_OUT_ACCOUNT_AGGREGATION_APPLICATIONS")
	equal(t, "launched is a time", ended.Launched.Get().IsZero(), false)
	equal(t, "completed is a time", ended.Completed.Get().IsZero(), false)

	status, _, err := client.Beta.AccountAggregationsAPI.GetAccountAggregationStatus(ctx, task.GetId()).Execute()
	must(t, err)
	equal(t, "status of the aggregation", status.GetStatus(), "COMPLETED")
	equal(t, "total accounts", status.GetTotalAccounts(), 5)
	equal(t, "processed accounts", status.GetProcessedAccounts(), 5)
	equal(t, "start is a time", status.Start.IsZero(), false)

	tasks, answer, err := client.Beta.TaskManagementAPI.GetTaskStatusList(ctx).Count(true).Sorters("-created").Filters(fmt.Sprintf("sourceId eq %q", id)).Execute()
	must(t, err)
	equal(t, "tasks of the source", len(tasks), 1)
	equal(t, "its id", tasks[0].Id, task.GetId())
	equal(t, "X-Total-Count", answer.Header.Get("X-Total-Count"), "1")
}

func TestDisableOptimizationIsHeard(t *testing.T) {
	client := newClient()
	id := fileSource(t, client)
	first, _, err := client.Beta.SourcesAPI.ImportAccounts(ctx, id).File(accounts(t, 4)).Execute()
	must(t, err)
	finished(t, client, first.Task.GetId())
	for value, optimized := range map[string]string{"true": "0", "false": "4"} {
		again, _, err := client.Beta.SourcesAPI.ImportAccounts(ctx, id).File(accounts(t, 4)).DisableOptimization(value).Execute()
		must(t, err)
		ended := finished(t, client, again.Task.GetId())
		equal(t, "optimized with "+value, fmt.Sprint(ended.Attributes["optimized"]), optimized)
		equal(t, "updated with "+value, fmt.Sprint(ended.Attributes["updated"]), "0")
	}
}

// The three ways in which this SDK sends no file: a header without boundary over no body, a form with nothing but the
// field, and, for a file of zero bytes, a form without parts.
func TestADirectSourceIsAggregatedWithoutAFile(t *testing.T) {
	client := newClient()
	for name, request := range withoutFile(t, client) {
		t.Run(name, func(t *testing.T) {
			id := newSource(t, client, "chaos", map[string]any{"records": 3})
			submitted, answer, err := request(id).Execute()
			must(t, err)
			equal(t, "status", answer.StatusCode, 202)
			ended := finished(t, client, submitted.Task.GetId())
			equal(t, "completionStatus", *ended.CompletionStatus.Get(), "SUCCESS")
			equal(t, "created accounts", fmt.Sprint(ended.Attributes["created"]), "3")
		})
	}
}

func TestAFileSourceWithoutAFileIsRefused(t *testing.T) {
	client := newClient()
	for name, request := range withoutFile(t, client) {
		t.Run(name, func(t *testing.T) {
			id := fileSource(t, client)
			_, answer, err := request(id).Execute()
			refused(t, answer, err, 400, "file")
			tasks, _, err := client.Beta.TaskManagementAPI.GetTaskStatusList(ctx).Filters(fmt.Sprintf("sourceId eq %q", id)).Execute()
			must(t, err)
			equal(t, "tasks", len(tasks), 0)
		})
	}
}

func TestASecondFileWhileOneRunsIsAnsweredByATaskThatFailed(t *testing.T) {
	client := newClient()
	id := newSource(t, client, "chaos", map[string]any{"records": 300, "pageSize": 10, "behaviour": "slow"})
	first, _, err := client.Beta.SourcesAPI.ImportAccounts(ctx, id).Execute()
	must(t, err)
	second, answer, err := client.Beta.SourcesAPI.ImportAccounts(ctx, id).DisableOptimization("true").Execute()
	must(t, err)
	equal(t, "status", answer.StatusCode, 202)
	equal(t, "completionStatus", *second.Task.CompletionStatus.Get(), "ERROR")
	message := second.Task.Messages[0]
	equal(t, "type of the message", message.GetType(), "ERROR")
	holds(t, message.GetLocalizedText(), "currently running aggregation must complete")
	shown := finished(t, client, second.Task.GetId())
	holds(t, shown.Messages[0].Key, "currently running aggregation must complete")
	holds(t, shown.Messages[0].LocalizedText.Get().Message, "currently running aggregation must complete")
	finished(t, client, first.Task.GetId())
}

func withoutFile(t *testing.T, client *sailpoint.APIClient) map[string]func(string) beta.ApiImportAccountsRequest {
	api := client.Beta.SourcesAPI
	return map[string]func(string) beta.ApiImportAccountsRequest{
		"a header without boundary": func(id string) beta.ApiImportAccountsRequest {
			return api.ImportAccounts(ctx, id)
		},
		"only the field": func(id string) beta.ApiImportAccountsRequest {
			return api.ImportAccounts(ctx, id).DisableOptimization("false")
		},
		"a file of zero bytes": func(id string) beta.ApiImportAccountsRequest {
			return api.ImportAccounts(ctx, id).File(fileOf(t, ""))
		},
	}
}
