//! The stack: where it stands, what would change, and the change, watched to its end.

use super::{
    account::{Account, refused},
    parameters::Setting,
};
use crate::{
    failure::{Exit, Failure, Outcome},
    interrupts::interrupts,
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

/// A stack, as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Names it even when it is gone.
    pub id: String,
    /// `CREATE_COMPLETE` and the like.
    pub status: String,
    /// Parameters; those that are secret as asterisks.
    pub parameters: BTreeMap<String, String>,
    /// Outputs.
    pub outputs: BTreeMap<String, String>,
}

/// A part of a stack.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its name in the template.
    pub logical: String,
    /// Its name in the account.
    pub physical: String,
    /// `AWS::SQS::Queue` and the like.
    pub kind: String,
}

/// What can be done with a stack of this name.
#[derive(Debug)]
pub enum Standing {
    /// There is none, or only the empty shell of one.
    Absent,
    /// Its first creation failed; what is left must go before it can be made.
    Failed(Stack),
    /// It is complete.
    Complete(Stack),
}

/// The stack of this name or id, if there is one.
pub async fn find(account: &Account, name: &str) -> Outcome<Option<Stack>> {
    match account.cloudformation.describe_stacks().stack_name(name).send().await {
        Ok(found) => Ok(found.stacks.unwrap_or_default().into_iter().next().map(Stack::from)),
        Err(error) if error.message().is_some_and(|words| words.contains("does not exist")) => Ok(None),
        Err(error) => Err(refused(&format!("looking for stack {name}"), &error)),
    }
}

/// What can be done with the stack of this name.
pub async fn standing(account: &Account, name: &str) -> Outcome<Standing> {
    let Some(stack) = find(account, name).await? else { return Ok(Standing::Absent) };
    match stack.status.as_str() {
        // Only the wish to make one.
        "REVIEW_IN_PROGRESS" => return Ok(Standing::Absent),
        "CREATE_COMPLETE"
        | "UPDATE_COMPLETE"
        | "UPDATE_ROLLBACK_COMPLETE"
        | "IMPORT_COMPLETE"
        | "IMPORT_ROLLBACK_COMPLETE"
        | "ROLLBACK_COMPLETE" => {}
        status if status.ends_with("_IN_PROGRESS") => {
            return Err(Failure::system(format!(
                "stack {name} is being changed already ({status}); wait until that is over, and try again"
            )));
        }
        "UPDATE_ROLLBACK_FAILED" => {
            return Err(Failure::system(format!(
                "stack {name} is between two versions (UPDATE_ROLLBACK_FAILED): put right what its events name, then: \
                 aws cloudformation continue-update-rollback --stack-name {name}"
            )));
        }
        status => {
            return Err(Failure::system(format!(
                "stack {name} cannot be changed as it is ({status}): remove it with tidemill destroy --name {name} \
                 (records and artifacts stay), and deploy again"
            )));
        }
    }
    stack.must_be_ours()?;
    Ok(if stack.status == "ROLLBACK_COMPLETE" { Standing::Failed(stack) } else { Standing::Complete(stack) })
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
    /// Fails for a stack that something else made.
    pub fn must_be_ours(&self) -> Outcome {
        if self.parameters.contains_key("CodePrefix") && self.parameters.contains_key("AdminTokenSha256") {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "there is a stack {} that is none of Tidemill's; choose another name with --name",
            self.name
        )))
    }

    /// Its parts.
    pub async fn resources(&self, account: &Account) -> Outcome<Vec<Resource>> {
        let mut pages =
            account.cloudformation.list_stack_resources().stack_name(&self.id).into_paginator().send();
        let mut resources = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| refused(&format!("listing stack {}", self.name), &error))?;
            let live = |status: &str| status != "DELETE_COMPLETE";
            resources.extend(
                page.stack_resource_summaries
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|part| part.resource_status.as_ref().is_none_or(|status| live(status.as_str())))
                    .map(|part| Resource {
                        logical: part.logical_resource_id.unwrap_or_default(),
                        physical: part.physical_resource_id.unwrap_or_default(),
                        kind: part.resource_type.unwrap_or_default(),
                    }),
            );
        }
        resources.sort_by(|one, other| (&one.kind, &one.logical).cmp(&(&other.kind, &other.logical)));
        Ok(resources)
    }

    /// Deletes it, and waits until it is gone.
    pub async fn delete(&self, account: &Account) -> Outcome {
        let seen = Watch::begin(account, self).await?;
        let deleted = account.cloudformation.delete_stack().stack_name(&self.id).send().await;
        deleted.map_err(|error| refused(&format!("deleting stack {}", self.name), &error))?;
        seen.until_over(account).await.map(drop)
    }
}

/// A change that is worked out, and not made yet.
#[derive(Debug)]
pub struct ChangeSet {
    stack: Stack,
    id: String,
    is_first: bool,
    /// What it changes.
    pub changes: Vec<ResourceChange>,
}

impl ChangeSet {
    /// Works out what deploying this template would change; `None`: nothing.
    pub async fn work_out(
        account: &Account,
        name: &str,
        is_first: bool,
        template_url: &str,
        settings: BTreeMap<&'static str, Setting>,
    ) -> Outcome<Option<Self>> {
        let doing = format!("working out the changes of stack {name}");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let parameters = settings.into_iter().map(|(key, setting)| match setting {
            Setting::Value(value) => Parameter::builder().parameter_key(key).parameter_value(value).build(),
            Setting::Previous => Parameter::builder().parameter_key(key).use_previous_value(true).build(),
        });
        let made = account
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
            .map_err(|error| refused(&doing, &error))?;
        let stack_id = made.stack_id.unwrap_or_default();
        let stack = find(account, &stack_id).await?;
        let stack = stack.ok_or_else(|| Failure::system(format!("{doing} failed: the stack is gone")))?;
        let mut set = Self { stack, id: made.id.unwrap_or_default(), is_first, changes: Vec::new() };
        match set.read(account).await {
            Ok(true) => Ok(Some(set)),
            Ok(false) => set.discard(account).await.map(|()| None),
            Err(failure) => {
                // That it could not be worked out matters more than what is left of it.
                let _ = set.discard(account).await;
                Err(failure)
            }
        }
    }

    /// Waits until the changes are known. Whether there are any.
    async fn read(&mut self, account: &Account) -> Outcome<bool> {
        let doing = format!("working out the changes of stack {}", self.stack.name);
        let mut token = None;
        loop {
            let page = account.cloudformation.describe_change_set().change_set_name(&self.id);
            let page =
                page.set_next_token(token.clone()).send().await.map_err(|error| refused(&doing, &error))?;
            match page.status {
                Some(ChangeSetStatus::CreateComplete) => {}
                Some(ChangeSetStatus::Failed) => {
                    let reason = page.status_reason.unwrap_or_default();
                    if reason.contains("didn't contain changes")
                        || reason.contains("No updates are to be performed")
                    {
                        return Ok(false);
                    }
                    return Err(Failure::usage(format!("{doing} failed: {reason}")));
                }
                _ => {
                    tokio::time::sleep(account.pause()).await;
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

    /// The changes in words, one a line; those that replace or remove something say so.
    pub fn lines(&self) -> Vec<String> {
        self.changes.iter().map(line).collect()
    }

    /// Forgets the change; a stack that it would have made goes with it.
    pub async fn discard(self, account: &Account) -> Outcome {
        let doing = format!("discarding the changes of stack {}", self.stack.name);
        let cloudformation = &account.cloudformation;
        if self.is_first {
            let deleted = cloudformation.delete_stack().stack_name(&self.stack.id).send().await;
            return deleted.map(drop).map_err(|error| refused(&doing, &error));
        }
        let deleted = cloudformation.delete_change_set().change_set_name(&self.id).send().await;
        deleted.map(drop).map_err(|error| refused(&doing, &error))
    }

    /// Makes the change, and gives the stack as it is then.
    pub async fn execute(self, account: &Account) -> Outcome<Stack> {
        let watch = Watch::begin(account, &self.stack).await?;
        let executed = account.cloudformation.execute_change_set().change_set_name(&self.id).send().await;
        executed.map_err(|error| refused(&format!("changing stack {}", self.stack.name), &error))?;
        watch.until_over(account).await
    }
}

fn line(change: &ResourceChange) -> String {
    let sign = match &change.action {
        Some(ChangeAction::Add) => "+",
        Some(ChangeAction::Remove) => "-",
        _ => "~",
    };
    let consequence = match (&change.action, &change.replacement) {
        (Some(ChangeAction::Remove), _) => ", removed",
        (_, Some(Replacement::True)) => ", replaced by a new one",
        (_, Some(Replacement::Conditional)) => ", perhaps replaced by a new one",
        _ => "",
    };
    let (kind, logical) = (change.resource_type.as_deref(), change.logical_resource_id.as_deref());
    format!("{sign} {} ({}{consequence})", logical.unwrap_or_default(), kind.unwrap_or_default())
}

/// Shows what happens to a stack until it is over.
struct Watch {
    stack: Stack,
    status: String,
    seen: HashSet<String>,
    failed: Option<StackEvent>,
}

impl Watch {
    /// Begins before the change does, so that what is shown is of this one.
    async fn begin(account: &Account, stack: &Stack) -> Outcome<Self> {
        let mut watch =
            Self { stack: stack.clone(), status: stack.status.clone(), seen: HashSet::new(), failed: None };
        watch.seen.extend(watch.news(account).await?.into_iter().filter_map(|event| event.event_id));
        Ok(watch)
    }

    /// Events that were not seen yet, the oldest first.
    async fn news(&self, account: &Account) -> Outcome<Vec<StackEvent>> {
        let mut pages =
            account.cloudformation.describe_stack_events().stack_name(&self.stack.id).into_paginator().send();
        let mut news = Vec::new();
        'pages: while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| refused(&format!("watching stack {}", self.stack.name), &error))?;
            // They come with the newest first.
            for event in page.stack_events.unwrap_or_default() {
                if event.event_id.as_ref().is_none_or(|id| self.seen.contains(id)) {
                    break 'pages;
                }
                news.push(event);
            }
        }
        news.reverse();
        Ok(news)
    }

    /// The stack when nothing happens to it any more, if all went well.
    async fn until_over(mut self, account: &Account) -> Outcome<Stack> {
        let mut interrupts = interrupts()?;
        loop {
            let begun = self.show(account).await?;
            let now = find(account, &self.stack.id).await?;
            let status = now.as_ref().map_or("DELETE_COMPLETE", |stack| stack.status.as_str()).to_owned();
            // Until the first event it is as it was before.
            let over = !status.ends_with("_IN_PROGRESS") && (begun || status != self.status);
            if over {
                self.show(account).await?;
                return self.verdict(status, now);
            }
            tokio::select! {
                () = tokio::time::sleep(account.pause()) => {}
                _ = interrupts.recv() => return Err(Failure {
                    exit: Exit::Canceled,
                    words: format!("CloudFormation goes on with stack {} by itself; the same command later shows how it \
                                    ended", self.stack.name),
                }),
            }
        }
    }

    /// Prints what is new; whether anything ever was.
    async fn show(&mut self, account: &Account) -> Outcome<bool> {
        for event in self.news(account).await? {
            let status = event.resource_status.as_ref().map(ResourceStatus::as_str).unwrap_or_default();
            let (kind, logical) = (event.resource_type.as_deref(), event.logical_resource_id.as_deref());
            if status.ends_with("_FAILED") && self.failed.is_none() && !is_consequence(&event) {
                self.failed = Some(event.clone());
            }
            // That something begins is told by its end; of the stack itself both matter.
            if !status.ends_with("_IN_PROGRESS") || kind == Some("AWS::CloudFormation::Stack") {
                let (kind, logical) = (kind.unwrap_or_default(), logical.unwrap_or_default());
                crate::errln!("  {status:<26} {logical} ({kind})");
            }
            self.status.clear();
            self.seen.extend(event.event_id);
        }
        Ok(self.status.is_empty())
    }

    fn verdict(self, status: String, now: Option<Stack>) -> Outcome<Stack> {
        if status == "DELETE_COMPLETE" || matches!(status.as_str(), "CREATE_COMPLETE" | "UPDATE_COMPLETE") {
            return Ok(now.unwrap_or(Stack { status, ..self.stack }));
        }
        let name = &self.stack.name;
        let Some(event) = self.failed else {
            return Err(Failure::system(format!(
                "stack {name} ended as {status}, with no reason given; its events are in CloudFormation's console"
            )));
        };
        let reason = event.resource_status_reason.unwrap_or_else(|| "no reason was given".to_owned());
        Err(Failure::system(format!(
            "stack {name} ended as {status}. First to fail was {} ({}):\n  {reason}\n{}",
            event.logical_resource_id.unwrap_or_default(),
            event.resource_type.unwrap_or_default(),
            advice(&reason)
        )))
    }
}

/// Whether a part failed only because another did.
fn is_consequence(event: &StackEvent) -> bool {
    event.resource_status_reason.as_ref().is_some_and(|reason| reason.to_lowercase().contains("cancelled"))
}

/// What to do about a part's failure.
fn advice(reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if has(&["not authorized", "accessdenied", "access denied", "unauthorized"]) {
        "These credentials lack that permission; docs/deploy.md has the policy that is needed. Then deploy again."
    } else if has(&["already exists"]) {
        "Something of that name is left from elsewhere: remove it, or deploy under another name with --name."
    } else if has(&["limit", "quota", "exceed"]) {
        "The account has no more of these: ask AWS for a higher quota (Service Quotas), or remove some. Then deploy again."
    } else if has(&["resource handler returned message", "invalid", "not supported"]) {
        "Put right what it names (an instance type or a subnet, perhaps) and deploy again."
    } else {
        "Put that right and run the same command again; docs/deploy.md, \"Troubleshooting\", may help."
    }
}

#[cfg(test)]
mod tests {
    use super::{advice, is_consequence, line};
    use aws_sdk_cloudformation::types::{ChangeAction, Replacement, ResourceChange, StackEvent};

    #[test]
    fn a_change_says_what_it_does_to_what_is_there() {
        let change =
            ResourceChange::builder().logical_resource_id("Table").resource_type("AWS::DynamoDB::Table");
        let shown =
            |action, replacement| line(&change.clone().action(action).set_replacement(replacement).build());
        assert_eq!(shown(ChangeAction::Add, None), "+ Table (AWS::DynamoDB::Table)");
        assert_eq!(shown(ChangeAction::Modify, Some(Replacement::False)), "~ Table (AWS::DynamoDB::Table)");
        let replaced = shown(ChangeAction::Modify, Some(Replacement::True));
        assert_eq!(replaced, "~ Table (AWS::DynamoDB::Table, replaced by a new one)");
        assert_eq!(shown(ChangeAction::Remove, None), "- Table (AWS::DynamoDB::Table, removed)");
    }

    #[test]
    fn the_cause_is_told_from_its_consequences() {
        let event = |reason: &str| StackEvent::builder().resource_status_reason(reason).build();
        assert!(is_consequence(&event("Resource creation cancelled")));
        assert!(!is_consequence(&event("Access Denied")));
        assert!(!is_consequence(&StackEvent::builder().build()));
    }

    #[test]
    fn advice_fits_the_reason() {
        assert!(advice("User is not authorized to perform: iam:CreateRole").contains("permission"));
        assert!(advice("/aws/lambda/tidemill-api already exists").contains("--name"));
        assert!(advice("You have exceeded the limit of vCPUs").contains("quota"));
        assert!(advice("Something else").contains("Troubleshooting"));
    }
}
