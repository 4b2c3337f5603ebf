//! The CloudFormation stack: its state, change sets, and progress of changes.

use super::{
    account::{Account, aws_failure},
    parameters::ParameterSetting,
};
use crate::{
    failure::{Exit, Failure, Outcome},
    interrupts::Interrupts,
};
use aws_sdk_cloudformation::{
    error::ProvideErrorMetadata,
    types::{
        Capability, ChangeAction, ChangeSetStatus, ChangeSetType, Parameter, Replacement, ResourceChange,
        ResourceStatus, Stack as Described, StackEvent,
    },
};
use std::{
    collections::{BTreeMap, HashSet},
    time::{SystemTime, UNIX_EPOCH},
};

/// A snapshot of a stack.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Name.
    pub name: String,
    /// Id, which remains valid after deletion.
    pub id: String,
    /// `CREATE_COMPLETE` and the like.
    pub status: String,
    /// Parameters; CloudFormation masks secret values with asterisks.
    pub parameters: BTreeMap<String, String>,
    /// Outputs.
    pub outputs: BTreeMap<String, String>,
}

/// A resource of a stack.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Logical id: the name in the template.
    pub logical_id: String,
    /// Physical id: the name in the account.
    pub physical_id: String,
    /// `AWS::SQS::Queue` and the like.
    pub kind: String,
}

/// The state of a stack.
#[derive(Debug)]
pub enum StackState {
    /// It does not exist, or has no resources yet.
    Absent,
    /// Its creation failed; it must be deleted before it can be created again.
    Failed(Stack),
    /// It is complete.
    Complete(Stack),
}

/// Returns the stack of this name or id, if it exists.
pub async fn find(account: &Account, name: &str) -> Outcome<Option<Stack>> {
    match account.cloudformation.describe_stacks().stack_name(name).send().await {
        Ok(found) => Ok(found.stacks.unwrap_or_default().into_iter().next().map(Stack::from)),
        Err(error) if error.message().is_some_and(|message| message.contains("does not exist")) => Ok(None),
        Err(error) => Err(aws_failure(&format!("looking for stack {name}"), &error)),
    }
}

/// Returns the state of the stack of this name. Fails if the stack cannot be changed.
pub async fn state(account: &Account, name: &str) -> Outcome<StackState> {
    let Some(stack) = find(account, name).await? else { return Ok(StackState::Absent) };
    match stack.status.as_str() {
        // A change set that was never executed.
        "REVIEW_IN_PROGRESS" => return Ok(StackState::Absent),
        "CREATE_COMPLETE"
        | "UPDATE_COMPLETE"
        | "UPDATE_ROLLBACK_COMPLETE"
        | "IMPORT_COMPLETE"
        | "IMPORT_ROLLBACK_COMPLETE"
        | "ROLLBACK_COMPLETE" => {}
        status if status.ends_with("_IN_PROGRESS") => {
            return Err(Failure::system(format!(
                "stack {name} is being changed ({status}); wait until that is finished and try again"
            )));
        }
        "UPDATE_ROLLBACK_FAILED" => {
            return Err(Failure::system(format!(
                "the rollback of stack {name} failed (UPDATE_ROLLBACK_FAILED): fix the cause that its events show, then run: \
                 aws cloudformation continue-update-rollback --stack-name {name}"
            )));
        }
        status => {
            return Err(Failure::system(format!(
                "stack {name} cannot be changed ({status}): delete it with tidemill destroy --name {name} \
                 (keeps records and artifacts), and deploy again"
            )));
        }
    }
    stack.check_is_tidemill()?;
    Ok(if stack.status == "ROLLBACK_COMPLETE" {
        StackState::Failed(stack)
    } else {
        StackState::Complete(stack)
    })
}

impl From<Described> for Stack {
    fn from(stack: Described) -> Self {
        let outputs = stack.outputs.unwrap_or_default().into_iter();
        let parameters = stack.parameters.unwrap_or_default().into_iter();
        Self {
            name: stack.stack_name.unwrap_or_default(),
            id: stack.stack_id.unwrap_or_default(),
            status: stack.stack_status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
            parameters: parameters
                .filter_map(|each| Some((each.parameter_key?, each.parameter_value?)))
                .collect(),
            outputs: outputs.filter_map(|each| Some((each.output_key?, each.output_value?))).collect(),
        }
    }
}

impl Stack {
    /// Returns a usage error if the stack was not created by Tidemill.
    pub fn check_is_tidemill(&self) -> Outcome {
        if self.parameters.contains_key("CodePrefix") && self.parameters.contains_key("AdminTokenSha256") {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "stack {} was not created by Tidemill; use another name with --name",
            self.name
        )))
    }

    /// Lists its resources.
    pub async fn resources(&self, account: &Account) -> Outcome<Vec<Resource>> {
        let mut pages =
            account.cloudformation.list_stack_resources().stack_name(&self.id).into_paginator().send();
        let mut resources = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| aws_failure(&format!("listing stack {}", self.name), &error))?;
            let live = |status: &str| status != "DELETE_COMPLETE";
            resources.extend(
                page.stack_resource_summaries
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|part| part.resource_status.as_ref().is_none_or(|status| live(status.as_str())))
                    .map(|part| Resource {
                        logical_id: part.logical_resource_id.unwrap_or_default(),
                        physical_id: part.physical_resource_id.unwrap_or_default(),
                        kind: part.resource_type.unwrap_or_default(),
                    }),
            );
        }
        resources.sort_by(|one, other| (&one.kind, &one.logical_id).cmp(&(&other.kind, &other.logical_id)));
        Ok(resources)
    }

    /// Deletes the stack and waits until it is deleted.
    pub async fn delete(&self, account: &Account) -> Outcome {
        let watch = StackWatch::begin(account, self).await?;
        let deleted = account.cloudformation.delete_stack().stack_name(&self.id).send().await;
        deleted.map_err(|error| aws_failure(&format!("deleting stack {}", self.name), &error))?;
        watch.until_end(account).await.map(drop)
    }
}

/// A change set that has not been executed.
#[derive(Debug)]
pub struct ChangeSet {
    stack: Stack,
    id: String,
    is_first: bool,
    /// Changed resources.
    pub changes: Vec<ResourceChange>,
}

impl ChangeSet {
    /// Creates the change set for a template; `None`: there are no changes.
    pub async fn create(
        account: &Account,
        name: &str,
        is_first: bool,
        template_url: &str,
        settings: BTreeMap<&'static str, ParameterSetting>,
    ) -> Outcome<Option<Self>> {
        let action = format!("computing the changes of stack {name}");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let parameters = settings.into_iter().map(|(key, setting)| match setting {
            ParameterSetting::Value(value) => {
                Parameter::builder().parameter_key(key).parameter_value(value).build()
            }
            ParameterSetting::Previous => {
                Parameter::builder().parameter_key(key).use_previous_value(true).build()
            }
        });
        let created = account
            .cloudformation
            .create_change_set()
            .stack_name(name)
            .change_set_name(format!("tidemill-{}", since.as_millis()))
            .change_set_type(if is_first { ChangeSetType::Create } else { ChangeSetType::Update })
            .template_url(template_url)
            .set_parameters(Some(parameters.collect()))
            .capabilities(Capability::CapabilityIam)
            .send()
            .await
            .map_err(|error| aws_failure(&action, &error))?;
        let stack_id = created.stack_id.unwrap_or_default();
        let stack = find(account, &stack_id).await?;
        let stack =
            stack.ok_or_else(|| Failure::system(format!("{action} failed: the stack was deleted")))?;
        let mut set = Self { stack, id: created.id.unwrap_or_default(), is_first, changes: Vec::new() };
        match set.read(account).await {
            Ok(true) => Ok(Some(set)),
            Ok(false) => set.discard(account).await.map(|()| None),
            Err(failure) => {
                // Report the first failure.
                let _ = set.discard(account).await;
                Err(failure)
            }
        }
    }

    /// Waits until CloudFormation has computed the changes. Returns whether there are any.
    async fn read(&mut self, account: &Account) -> Outcome<bool> {
        let action = format!("computing the changes of stack {}", self.stack.name);
        let mut token = None;
        loop {
            let page = account.cloudformation.describe_change_set().change_set_name(&self.id);
            let page = page
                .set_next_token(token.clone())
                .send()
                .await
                .map_err(|error| aws_failure(&action, &error))?;
            match page.status {
                Some(ChangeSetStatus::CreateComplete) => {}
                Some(ChangeSetStatus::Failed) => {
                    let reason = page.status_reason.unwrap_or_default();
                    if reason.contains("didn't contain changes")
                        || reason.contains("No updates are to be performed")
                    {
                        return Ok(false);
                    }
                    return Err(Failure::usage(format!("{action} failed: {reason}")));
                }
                _ => {
                    tokio::time::sleep(account.poll_interval()).await;
                    continue;
                }
            }
            self.changes.extend(
                page.changes.unwrap_or_default().into_iter().filter_map(|change| change.resource_change),
            );
            token = page.next_token;
            if token.is_none() {
                return Ok(true);
            }
        }
    }

    /// Formats one line per change.
    pub fn lines(&self) -> Vec<String> {
        self.changes.iter().map(change_line).collect()
    }

    /// Deletes the change set, and the empty stack that the first change set of a stack creates.
    pub async fn discard(self, account: &Account) -> Outcome {
        let action = format!("discarding the changes of stack {}", self.stack.name);
        let cloudformation = &account.cloudformation;
        if self.is_first {
            let deleted = cloudformation.delete_stack().stack_name(&self.stack.id).send().await;
            return deleted.map(drop).map_err(|error| aws_failure(&action, &error));
        }
        let deleted = cloudformation.delete_change_set().change_set_name(&self.id).send().await;
        deleted.map(drop).map_err(|error| aws_failure(&action, &error))
    }

    /// Executes the change set, and returns the changed stack.
    pub async fn execute(self, account: &Account) -> Outcome<Stack> {
        let watch = StackWatch::begin(account, &self.stack).await?;
        let executed = account.cloudformation.execute_change_set().change_set_name(&self.id).send().await;
        executed.map_err(|error| aws_failure(&format!("changing stack {}", self.stack.name), &error))?;
        watch.until_end(account).await
    }
}

fn change_line(change: &ResourceChange) -> String {
    let sign = match &change.action {
        Some(ChangeAction::Add) => "+",
        Some(ChangeAction::Remove) => "-",
        _ => "~",
    };
    let consequence = match (&change.action, &change.replacement) {
        (Some(ChangeAction::Remove), _) => ", removed",
        (_, Some(Replacement::True)) => ", replaced by a new one",
        (_, Some(Replacement::Conditional)) => ", possibly replaced by a new one",
        _ => "",
    };
    let (kind, logical) = (change.resource_type.as_deref(), change.logical_resource_id.as_deref());
    format!("{sign} {} ({}{consequence})", logical.unwrap_or_default(), kind.unwrap_or_default())
}

/// Prints the events of a stack while it changes.
struct StackWatch {
    stack: Stack,
    status: String,
    /// Ids of the events that were printed or precede the change.
    seen_ids: HashSet<String>,
    first_failure: Option<StackEvent>,
}

impl StackWatch {
    /// Starts watching. Call it before the change, so that earlier events are skipped.
    async fn begin(account: &Account, stack: &Stack) -> Outcome<Self> {
        let mut watch = Self {
            stack: stack.clone(),
            status: stack.status.clone(),
            seen_ids: HashSet::new(),
            first_failure: None,
        };
        watch
            .seen_ids
            .extend(watch.new_events(account).await?.into_iter().filter_map(|event| event.event_id));
        Ok(watch)
    }

    /// Returns new events, oldest first.
    async fn new_events(&self, account: &Account) -> Outcome<Vec<StackEvent>> {
        let mut pages =
            account.cloudformation.describe_stack_events().stack_name(&self.stack.id).into_paginator().send();
        let mut events = Vec::new();
        'pages: while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| aws_failure(&format!("watching stack {}", self.stack.name), &error))?;
            // AWS returns the newest first.
            for event in page.stack_events.unwrap_or_default() {
                if event.event_id.as_ref().is_none_or(|id| self.seen_ids.contains(id)) {
                    break 'pages;
                }
                events.push(event);
            }
        }
        events.reverse();
        Ok(events)
    }

    /// Waits until the change ends, and returns the stack if it succeeded.
    async fn until_end(mut self, account: &Account) -> Outcome<Stack> {
        let mut interrupts = Interrupts::listen()?;
        loop {
            let has_started = self.show(account).await?;
            let now = find(account, &self.stack.id).await?;
            let status = now.as_ref().map_or("DELETE_COMPLETE", |stack| stack.status.as_str()).to_owned();
            // Before the first event, the status is that of the previous change.
            let has_ended = !status.ends_with("_IN_PROGRESS") && (has_started || status != self.status);
            if has_ended {
                self.show(account).await?;
                return self.verdict(status, now);
            }
            tokio::select! {
                () = tokio::time::sleep(account.poll_interval()) => {}
                _ = interrupts.recv() => return Err(Failure {
                    message: format!("CloudFormation continues to change stack {}; run the same command again to see \
                                      the result", self.stack.name),
                    ..Failure::silent(Exit::Canceled)
                }),
            }
        }
    }

    /// Prints new events. Returns whether there have been any so far.
    async fn show(&mut self, account: &Account) -> Outcome<bool> {
        for event in self.new_events(account).await? {
            let status = event.resource_status.as_ref().map(ResourceStatus::as_str).unwrap_or_default();
            let (kind, logical) = (event.resource_type.as_deref(), event.logical_resource_id.as_deref());
            if status.ends_with("_FAILED") && self.first_failure.is_none() && !is_consequence(&event) {
                self.first_failure = Some(event.clone());
            }
            // Show only the end for resources, and also the start for the stack.
            if !status.ends_with("_IN_PROGRESS") || kind == Some("AWS::CloudFormation::Stack") {
                let (kind, logical) = (kind.unwrap_or_default(), logical.unwrap_or_default());
                crate::output::errln!("  {status:<26} {logical} ({kind})");
            }
            self.status.clear();
            self.seen_ids.extend(event.event_id);
        }
        Ok(self.status.is_empty())
    }

    fn verdict(self, status: String, now: Option<Stack>) -> Outcome<Stack> {
        if status == "DELETE_COMPLETE" || matches!(status.as_str(), "CREATE_COMPLETE" | "UPDATE_COMPLETE") {
            return Ok(now.unwrap_or(Stack { status, ..self.stack }));
        }
        let name = &self.stack.name;
        let Some(event) = self.first_failure else {
            return Err(Failure::system(format!(
                "stack {name} ended as {status}, and CloudFormation gave no reason; see the stack's events in the CloudFormation console"
            )));
        };
        let reason = event.resource_status_reason.unwrap_or_else(|| "no reason given".to_owned());
        Err(Failure::system(format!(
            "stack {name} ended as {status}. The first failure was {} ({}):\n  {reason}\n{}",
            event.logical_resource_id.unwrap_or_default(),
            event.resource_type.unwrap_or_default(),
            advice(&reason)
        )))
    }
}

/// Returns whether a resource failed only because another one did.
fn is_consequence(event: &StackEvent) -> bool {
    event.resource_status_reason.as_ref().is_some_and(|reason| reason.to_lowercase().contains("cancelled"))
}

/// Returns advice for a failure with this reason.
fn advice(reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| reason.contains(part));
    if has(&["not authorized", "accessdenied", "access denied", "unauthorized"]) {
        "The credentials lack that permission; docs/deploy.md has the required policy. Then deploy again."
    } else if has(&["already exists"]) {
        "A resource of that name already exists: delete it, or deploy under another name with --name."
    } else if has(&["limit", "quota", "exceed"]) {
        "The account's quota is exhausted: request a higher one (Service Quotas), or delete resources. Then deploy again."
    } else if has(&["resource handler returned message", "invalid", "not supported"]) {
        "Correct the setting (such as the instance type or a subnet) and deploy again."
    } else {
        "Fix the cause and run the same command again; see \"Troubleshooting\" in docs/deploy.md."
    }
}

#[cfg(test)]
mod tests {
    use super::{advice, change_line, is_consequence};
    use aws_sdk_cloudformation::types::{ChangeAction, Replacement, ResourceChange, StackEvent};

    #[test]
    fn change_line_names_replacement_and_removal() {
        let change =
            ResourceChange::builder().logical_resource_id("Table").resource_type("AWS::DynamoDB::Table");
        let shown = |action, replacement| {
            change_line(&change.clone().action(action).set_replacement(replacement).build())
        };
        assert_eq!(shown(ChangeAction::Add, None), "+ Table (AWS::DynamoDB::Table)");
        assert_eq!(shown(ChangeAction::Modify, Some(Replacement::False)), "~ Table (AWS::DynamoDB::Table)");
        let replaced = shown(ChangeAction::Modify, Some(Replacement::True));
        assert_eq!(replaced, "~ Table (AWS::DynamoDB::Table, replaced by a new one)");
        assert_eq!(shown(ChangeAction::Remove, None), "- Table (AWS::DynamoDB::Table, removed)");
    }

    #[test]
    fn cancelled_resource_is_a_consequence() {
        let event = |reason: &str| StackEvent::builder().resource_status_reason(reason).build();
        assert!(is_consequence(&event("Resource creation cancelled")));
        assert!(!is_consequence(&event("Access Denied")));
        assert!(!is_consequence(&StackEvent::builder().build()));
    }

    #[test]
    fn advice_matches_the_reason() {
        assert!(advice("User is not authorized to perform: iam:CreateRole").contains("permission"));
        assert!(advice("/aws/lambda/tidemill-api already exists").contains("--name"));
        assert!(advice("You have exceeded the limit of vCPUs").contains("quota"));
        assert!(advice("Something else").contains("Troubleshooting"));
    }
}
