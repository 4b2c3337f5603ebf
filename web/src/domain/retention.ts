// Rules of retention: what a form says, and the text of a rule.
import type { RetentionRule, RetentionSettings } from "../api/types";
import { formatCount } from "./duration";

/** The fields of a form that sets one rule, as they are typed; an empty field leaves it to the next rule. */
export interface RetentionForm {
  /** Name of the pipeline; empty: all pipelines. */
  readonly pipeline: string;
  readonly days: string;
  readonly last: string;
  readonly branchDays: string;
  readonly keepTags: "" | "yes" | "no";
  readonly logDays: string;
  readonly artifactDays: string;
}

export const EMPTY_FORM: RetentionForm = {
  pipeline: "",
  days: "",
  last: "",
  branchDays: "",
  keepTags: "",
  logDays: "",
  artifactDays: "",
};

export type NumberField = "days" | "last" | "branchDays" | "logDays" | "artifactDays";

/** The numbers of a rule, with what each means. */
export const NUMBER_FIELDS: readonly {
  readonly field: NumberField;
  readonly label: string;
  readonly zero: string;
}[] = [
  { field: "days", label: "Days of executions", zero: "0: for ever" },
  { field: "last", label: "Newest to keep", zero: "0: no number" },
  { field: "branchDays", label: "Days of the newest of a branch", zero: "0: as any other" },
  { field: "logDays", label: "Days of logs", zero: "0: as the execution" },
  { field: "artifactDays", label: "Days of artifacts", zero: "0: as the execution" },
];

function number(text: string): { readonly value: number } | undefined {
  return text.trim() === "" ? undefined : { value: Number(text) };
}

function ruleOf(form: RetentionForm): RetentionRule {
  const [days, last, branchDays] = [number(form.days), number(form.last), number(form.branchDays)];
  const [logDays, artifactDays] = [number(form.logDays), number(form.artifactDays)];
  return {
    ...(days && { days: days.value }),
    ...(last && { last: last.value }),
    ...(branchDays && { branch_days: branchDays.value }),
    ...(form.keepTags !== "" && { keep_tags: form.keepTags === "yes" }),
    ...(logDays && { log_days: logDays.value }),
    ...(artifactDays && { artifact_days: artifactDays.value }),
  };
}

/** The settings with the rule of the form in the place of the one for the same pipelines. An empty rule removes it. */
export function withRule(settings: RetentionSettings, form: RetentionForm): RetentionSettings {
  const rule = ruleOf(form);
  const pipeline = form.pipeline.trim();
  if (pipeline === "") return { ...settings, rule };
  const others = Object.entries(settings.pipelines ?? {}).filter(([name]) => name !== pipeline);
  const own = Object.keys(rule).length === 0 ? [] : [[pipeline, rule] as const];
  return { ...settings, pipelines: Object.fromEntries([...others, ...own]) };
}

const text = (value: number | null | undefined): string => (value == null ? "" : String(value));

/** The form that shows a rule. */
export function formOf(pipeline: string, rule: RetentionRule): RetentionForm {
  return {
    pipeline,
    days: text(rule.days),
    last: text(rule.last),
    branchDays: text(rule.branch_days),
    keepTags: rule.keep_tags == null ? "" : rule.keep_tags ? "yes" : "no",
    logDays: text(rule.log_days),
    artifactDays: text(rule.artifact_days),
  };
}

/** The rules of settings, that of all pipelines first; those that say nothing are left out. */
export function rulesOf(
  settings: RetentionSettings,
): readonly { readonly pipeline: string; readonly rule: RetentionRule }[] {
  const rules = [
    { pipeline: "", rule: settings.rule ?? {} },
    ...Object.entries(settings.pipelines ?? {}).map(([pipeline, rule]) => ({ pipeline, rule })),
  ];
  return rules.filter(({ rule }) => Object.values(rule).some((value) => value != null));
}

function days(value: number, zero: string): string {
  return value === 0 ? zero : `${formatCount(value)} day${value === 1 ? "" : "s"}`;
}

/** What a rule says, a sentence each. */
export function ruleText(rule: RetentionRule): readonly string[] {
  const parts: string[] = [];
  if (rule.days != null) parts.push(`executions: ${days(rule.days, "for ever")}`);
  if (rule.last != null)
    parts.push(
      rule.last === 0 ? "no number of the newest" : `the newest ${formatCount(rule.last)} of each pipeline`,
    );
  if (rule.branch_days != null)
    parts.push(`the newest of each branch: ${days(rule.branch_days, "as any other")}`);
  if (rule.keep_tags != null) parts.push(rule.keep_tags ? "tags: for ever" : "tags: as any other");
  if (rule.log_days != null) parts.push(`logs: ${days(rule.log_days, "as their execution")}`);
  if (rule.artifact_days != null) parts.push(`artifacts: ${days(rule.artifact_days, "as their execution")}`);
  return parts;
}
