// Names for the types of the OpenAPI document.
import type { components, operations } from "./schema";

type Schemas = components["schemas"];

export type Approval = Schemas["Approval"];
export type ArtifactAddress = Schemas["ArtifactAddress"];
export type ArtifactView = Schemas["ArtifactView"];
export type AttemptView = Schemas["AttemptView"];
export type ChildView = Schemas["ChildView"];
export type DeliveryOutcome = Schemas["DeliveryOutcome"];
export type DeliveryView = Schemas["DeliveryView"];
export type ExcludedJobList = Schemas["ExcludedJobList"];
export type ExecutionStatus = Schemas["ExecutionStatus"];
export type ExecutionSummary = Schemas["ExecutionSummary"];
export type ExecutionView = Schemas["ExecutionView"];
export type FailureReason = Schemas["FailureReason"];
export type JobAnnotation = Schemas["JobAnnotation"];
export type JobStatus = Schemas["JobStatus"];
export type JobView = Schemas["JobView"];
export type Insights = Schemas["Insights"];
export type ListQuery = NonNullable<operations["pipeline-executions"]["parameters"]["query"]>;
export type Overview = Schemas["Overview"];
export type PinnedInclude = Schemas["PinnedInclude"];
export type PipelineFileView = Schemas["PipelineFileView"];
export type Problem = Schemas["Problem"];
export type RecentExecution = Schemas["RecentExecution"];
export type ScheduleView = Schemas["ScheduleView"];
export type StepView = Schemas["StepView"];
export type SummaryView = Schemas["SummaryView"];
export type TestReport = Schemas["TestReport"];
export type Trigger = Schemas["Trigger"];
export type WorkerView = Schemas["WorkerView"];
