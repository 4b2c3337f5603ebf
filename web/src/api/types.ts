// Names for the types of the OpenAPI document.
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Approval = Schemas["Approval"];
export type ArtifactView = Schemas["ArtifactView"];
export type AttemptView = Schemas["AttemptView"];
export type ChildView = Schemas["ChildView"];
export type ExecutionStatus = Schemas["ExecutionStatus"];
export type ExecutionSummary = Schemas["ExecutionSummary"];
export type ExecutionView = Schemas["ExecutionView"];
export type FailureReason = Schemas["FailureReason"];
export type JobStatus = Schemas["JobStatus"];
export type JobView = Schemas["JobView"];
export type Problem = Schemas["Problem"];
export type StepView = Schemas["StepView"];
export type TestReport = Schemas["TestReport"];
export type Trigger = Schemas["Trigger"];
