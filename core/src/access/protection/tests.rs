//! The decision about approvals, over all small cases.

use super::{
    ANY_PERSON, ApprovalProgress, ApprovalRejection, Approver, CallerApproval, EnvironmentProtection,
    GivenApproval, MAX_GIVEN, ProtectEnvironmentRequest, ProtectionError, Starter, approve, caller_approval,
    is_approved,
};
use crate::{
    access::roles::{Person, Role},
    time::Timestamp,
};
use std::collections::BTreeSet;

const NOW: Timestamp = Timestamp(1_000);

fn rule(approvals: u32, by: &[&str], exclude_starter: bool) -> EnvironmentProtection {
    let request = ProtectEnvironmentRequest {
        repo: "r".into(),
        environment: "production".into(),
        approvals,
        by: by.iter().map(|one| (*one).to_owned()).collect(),
        exclude_starter,
    };
    let request = request.checked().unwrap();
    EnvironmentProtection {
        repo: request.repo,
        environment: request.environment,
        approvals,
        by: request.by,
        exclude_starter,
        set_at: NOW,
        set_by: "admin".into(),
    }
}

fn person(name: &str, groups: &[&str]) -> Person {
    let id = format!("oidc:#{name}");
    Person {
        name: name.to_owned(),
        names: BTreeSet::from([id.clone(), format!("oidc:{name}")]),
        id,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    }
}

fn by(person: &Person) -> Approver<'_> {
    Approver::Person { person, role: Some(Role::Developer) }
}

fn starter(id: &str) -> Starter<'_> {
    Starter { id: Some(id), name: None }
}

/// Every sequence of up to four approvals by three people and a token, under every small rule: the job runs exactly when
/// enough different people whom the rule selects have approved, and no approval of anyone else is recorded.
#[test]
fn job_is_approved_exactly_when_enough_selected_people_have_approved() {
    let people = [person("ann", &["oidc:ops"]), person("bob", &["oidc:ops"]), person("eve", &[])];
    let approvers: Vec<Approver<'_>> =
        people.iter().map(by).chain([Approver::Token { id: "t1", name: "bot" }]).collect();
    let selected: [(&[&str], &[usize]); 5] = [
        (&["group:oidc:ops"], &[0, 1]),
        (&["user:oidc:eve", "token:bot"], &[2, 3]),
        (&[], &[0, 1, 2]),
        (&["token:*"], &[3]),
        (&["role:maintainer"], &[]),
    ];
    let mut cases = 0;
    for (patterns, selected) in selected {
        for approvals in 1..=3 {
            for exclude_starter in [false, true] {
                let rules = [rule(approvals, patterns, exclude_starter)];
                for sequence in 0..4_usize.pow(4) {
                    let steps = (0..4).map(|at| sequence / 4_usize.pow(at) % 4);
                    let (mut given, mut expected) = (Vec::<GivenApproval>::new(), BTreeSet::new());
                    for step in steps {
                        // Ann started it.
                        let counts = selected.contains(&step) && !(exclude_starter && step == 0);
                        let was_approved = expected.len() >= approvals as usize;
                        let outcome = approve(&rules, &given, approvers[step], starter("oidc:#ann"), NOW);
                        let shown =
                            caller_approval(&rules, &given, Some(approvers[step]), starter("oidc:#ann"));
                        cases += 1;
                        if !was_approved && !counts {
                            let reason = if selected.contains(&step) {
                                ApprovalRejection::Starter
                            } else {
                                ApprovalRejection::NotApprover
                            };
                            assert_eq!(outcome, Err(reason));
                            let is_starter = reason == ApprovalRejection::Starter;
                            let expected = if is_starter {
                                CallerApproval::Starter
                            } else {
                                CallerApproval::NotApprover
                            };
                            assert_eq!(shown, expected);
                            continue;
                        }
                        let is_new = !was_approved && expected.insert(step);
                        let outcome = outcome.unwrap();
                        assert_eq!(outcome.changed, is_new);
                        let counts = is_new || was_approved;
                        let as_shown = if counts { CallerApproval::Counts } else { CallerApproval::Given };
                        assert_eq!(shown, as_shown);
                        assert_eq!(outcome.is_approved, expected.len() >= approvals as usize);
                        given = outcome.given;
                        assert_eq!(given.len(), expected.len());
                        assert_eq!(is_approved(&rules, &given), outcome.is_approved);
                        let missing = approvals as usize - expected.len();
                        assert_eq!(rules[0].missing(&given) as usize, missing);
                    }
                }
            }
        }
    }
    assert_eq!(cases, 5 * 3 * 2 * 256 * 4);
}

#[test]
fn every_matching_rule_must_have_its_approvals() {
    let (ann, bob) = (person("ann", &["oidc:ops"]), person("bob", &["oidc:security"]));
    let rules = [rule(1, &["group:oidc:ops"], false), rule(1, &["group:oidc:security"], false)];
    let first = approve(&rules, &[], by(&ann), Starter::default(), NOW).unwrap();
    assert!(!first.is_approved);
    let progress = ApprovalProgress::new(&rules, &first.given);
    assert_eq!(progress.required.iter().map(|one| one.missing).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(progress.describe_missing(), "production needs 1 more approval by group:oidc:security");
    assert!(approve(&rules, &first.given, by(&bob), Starter::default(), NOW).unwrap().is_approved);
    // One person may be in both groups, and counts once for each rule.
    let both = person("cas", &["oidc:ops", "oidc:security"]);
    assert!(approve(&rules, &[], by(&both), Starter::default(), NOW).unwrap().is_approved);
    assert!(is_approved(&[], &[]), "nothing is protected");
    let nobody = caller_approval(&[], &[], None, Starter::default());
    assert_eq!(nobody, CallerApproval::NotApprover, "whoever may not run the job does not approve it");
    assert_eq!(caller_approval(&[], &[], Some(by(&ann)), Starter::default()), CallerApproval::Counts);
}

#[test]
fn changed_rule_counts_earlier_approvals_only_of_those_it_selects() {
    let (ann, bob) = (person("ann", &["oidc:ops"]), person("bob", &["oidc:ops"]));
    let given = approve(&[rule(1, &[], false)], &[], by(&ann), Starter::default(), NOW).unwrap().given;
    let stricter = [rule(1, &["group:oidc:ops"], false)];
    assert!(!is_approved(&stricter, &given), "that rule did not exist when it was given");
    let again = approve(&stricter, &given, by(&ann), Starter::default(), NOW).unwrap();
    assert!(again.is_approved && again.given.len() == 1, "the same person approves again");
    let more = [rule(2, &["group:oidc:ops"], false)];
    assert_eq!(more[0].missing(&again.given), 1);
    assert!(approve(&more, &again.given, by(&bob), Starter::default(), NOW).unwrap().is_approved);
}

#[test]
fn starter_is_known_by_id_or_by_name() {
    let ann = person("ann", &[]);
    let rules = [rule(1, &["user:*", "token:*"], true)];
    let token = Approver::Token { id: "t1", name: "bot" };
    let rejects = |approver: Approver<'_>, id: Option<&str>, name: Option<&str>| {
        approve(&rules, &[], approver, Starter { id, name }, NOW) == Err(ApprovalRejection::Starter)
    };
    for (approver, id, name, expected) in [
        (by(&ann), Some("oidc:#ann"), None, true),
        (by(&ann), Some("oidc:#bob"), Some("ann"), false),
        (by(&ann), None, Some("ann"), true),
        (by(&ann), None, Some("Ann"), true),
        (by(&ann), None, Some("bob"), false),
        (by(&ann), None, None, false),
        (token, Some("t1"), None, true),
        (token, None, Some("bot"), true),
        (token, Some("t2"), Some("bot"), false),
    ] {
        assert_eq!(rejects(approver, id, name), expected, "{approver:?} {id:?} {name:?}");
    }
}

#[test]
fn role_pattern_selects_that_role_and_higher_ones() {
    let ann = person("ann", &[]);
    let rules = [rule(1, &["role:maintainer"], false)];
    let as_role =
        |role| approve(&rules, &[], Approver::Person { person: &ann, role }, Starter::default(), NOW).is_ok();
    let roles = [None, Some(Role::Viewer), Some(Role::Developer), Some(Role::Maintainer), Some(Role::Admin)];
    assert_eq!(roles.map(as_role), [false, false, false, true, true]);
}

#[test]
fn number_of_recorded_approvals_is_bounded() {
    let wide = [rule(10, &[], false)];
    let given: Vec<GivenApproval> = (0..MAX_GIVEN)
        .map(|at| GivenApproval {
            id: at.to_string(),
            name: String::new(),
            at: NOW,
            by: vec!["token:old".into()],
            is_starter: false,
        })
        .collect();
    let ann = person("ann", &[]);
    let outcome = approve(&wide, &given, by(&ann), Starter::default(), NOW).unwrap();
    assert_eq!(outcome.given.len(), 1, "those that count for no rule are dropped");
    let both = [rule(10, &[], false), rule(10, &["token:old"], true)];
    let full: Vec<GivenApproval> =
        given.into_iter().map(|one| GivenApproval { id: format!("t{}", one.id), ..one }).collect();
    let outcome = approve(&both, &full, by(&ann), Starter::default(), NOW);
    assert_eq!(outcome, Err(ApprovalRejection::TooMany));
}

#[test]
fn rules_are_checked_and_written_as_they_are_compared() {
    let check = |environment: &str, approvals, by: &[&str]| {
        let by = by.iter().map(|one| (*one).to_owned()).collect();
        let (repo, environment) = ("r".into(), environment.into());
        ProtectEnvironmentRequest { repo, environment, approvals, by, exclude_starter: false }.checked()
    };
    let long = "x".repeat(256);
    for environment in ["", "a\nb", &long] {
        assert_eq!(check(environment, 1, &[]), Err(ProtectionError::Environment));
    }
    for approvals in [0, 11] {
        assert_eq!(check("*", approvals, &[]), Err(ProtectionError::Approvals(approvals)));
    }
    assert_eq!(check("a", 1, &["token:a"; 21]), Err(ProtectionError::TooManyApprovers));
    for approver in [
        "",
        "ann",
        "user:",
        "user:ann",
        "user:ldap:ann",
        "group:oidc:",
        "role:viewer",
        "role:owner",
        "token:",
        "oidc:ann",
    ] {
        assert_eq!(check("a", 1, &[approver]), Err(ProtectionError::Approver(approver.into())), "{approver}");
    }
    let by = check(
        "review/*",
        2,
        &["user:github:Alice", "group:gitlab:Acme/*", "role:admin", "user:github:alice"],
    );
    assert_eq!(by.unwrap().by, ["group:gitlab:acme/*", "role:admin", "user:github:alice"]);
    assert_eq!(check("a", 1, &[]).unwrap().by, [ANY_PERSON]);
    let review = EnvironmentProtection { environment: "review/*".into(), ..rule(1, &[], false) };
    assert!(review.protects("review/1") && !review.protects("production") && !review.protects("review"));
}
