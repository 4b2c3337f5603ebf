//! Operations on sessions and roles, for the OpenAPI document.

use super::document::{Document, Kind, QueryParameters};
use serde_json::json;
use tidemill_core::access::{
    TokenReply,
    roles::{RemoveRoleReply, RoleList, RoleRequest, RoleRule, RoleTarget},
    sessions::{CodeExchange, CodeReply, CodeRequest, EndSessionReply, SessionInfo, SessionList},
};
use tidemill_core::api::path;

const SIGN_IN_PARAMS: QueryParameters = &[
    ("provider", Kind::Provider, "The provider"),
    ("return_to", Kind::Text, "Path of this server to go to afterwards; default `/`"),
];
const LIST_PARAMS: QueryParameters = &[
    ("person", Kind::Text, "The id of a person; others need an administrator"),
    ("all", Kind::Flag, "The sessions of all people; needs an administrator"),
];
const END_PARAMS: QueryParameters =
    &[("person", Kind::Text, "The id of the session's person, if it is another one; needs an administrator")];
const REPLY_PARAMS: QueryParameters = &[
    ("code", Kind::Text, "Code of the provider"),
    ("state", Kind::Text, "State of the sign-in"),
    ("error", Kind::Text, "Why the provider refused"),
    ("iss", Kind::Text, "The provider's issuer"),
];

/// Adds the operations.
pub fn add(of: &mut Document) {
    let reply = of.reference::<SessionInfo>();
    of.add(path::SESSION, "get", "Who the caller is, and how to sign in", &[], None, reply);
    let reply = of.reference::<EndSessionReply>();
    of.add(path::SESSION, "delete", "Sign out", &[], None, reply);
    of.add(
        path::SIGN_IN,
        "get",
        "Begin to sign in: redirects to the provider",
        SIGN_IN_PARAMS,
        None,
        json!({}),
    );
    of.add(
        path::SIGN_IN_REPLY,
        "get",
        "End of a sign-in: redirects to a page",
        REPLY_PARAMS,
        None,
        json!({}),
    );
    let reply = of.reference::<SessionList>();
    of.add(path::SESSIONS, "get", "The caller's sessions, or those of others", LIST_PARAMS, None, reply);
    let reply = of.reference::<EndSessionReply>();
    of.add(path::OWN_SESSION, "delete", "End a session", END_PARAMS, None, reply);
    let (body, reply) = (of.reference::<CodeRequest>(), of.reference::<CodeReply>());
    of.add(path::SESSION_CODE, "post", "A code to sign in the command line", &[], Some(body), reply);
    let (body, reply) = (of.reference::<CodeExchange>(), of.reference::<TokenReply>());
    of.add(path::SESSION_TOKEN, "post", "Exchange such a code for a token", &[], Some(body), reply);
    let reply = of.reference::<RoleList>();
    of.add(path::ROLES, "get", "The rules that give roles", &[], None, reply);
    let (body, reply) = (of.reference::<RoleRequest>(), of.reference::<RoleRule>());
    of.add(path::ROLES, "post", "Give a role", &[], Some(body), reply);
    let (body, reply) = (of.reference::<RoleTarget>(), of.reference::<RemoveRoleReply>());
    of.add(path::REMOVE_ROLE, "post", "Take a role back", &[], Some(body), reply);
}
