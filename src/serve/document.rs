//! The API's own description: OpenAPI 3.1 made of the handlers, and a page that shows it without the internet.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    Shared,
    problem::{Code, ProblemBody},
};
use crate::replies::providers;

/// The parts that are the same for every handler.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "presend",
        description = "Tells, before a message is sent, what will happen to mail for an address.\n\nEvery answer is one of four labels, \
            always with a reason: `valid`, `invalid`, `catch-all`, `unknown`. Problems follow RFC 9457 and have a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "verify", description = "Ask about addresses"),
        (name = "jobs", description = "Have lists asked about"),
        (name = "knowledge", description = "What replies and reasons mean"),
        (name = "events", description = "What happened to mail, and who gets no more of it"),
        (name = "receive", description = "Calls of sending services"),
        (name = "operation", description = "Health and numbers"),
    ),
    components(schemas(ProblemBody)),
)]
pub(super) struct Description;

/// The result of one address, `presend/1`: the same as the command line's.
#[derive(ToSchema)]
#[schema(example = json!({
    "schema": "presend/1", "address": "jane.doe@example.com", "ascii": "jane.doe@example.com", "label": "valid",
    "reason": "mailbox_exists", "action": "send", "bounce": {"kind": "none", "class": null}, "retry_at": null, "did_you_mean": null,
    "flags": {"role": false, "disposable": false, "free": false, "subaddress": false, "smtputf8": false, "wildcard_zone": false},
    "mail_host": {"provider": null, "name": "mx1.example.com", "ip": "192.0.2.7", "preference": 10, "implicit": false, "tls": true},
    "evidence": {"stage": "rcpt", "code": 250, "enhanced": "2.1.5", "text": "250 2.1.5 Ok", "control": "refused", "attempts": 1},
    "source": "live", "checked_at": "2026-11-21T10:00:00Z", "expires_at": "2026-11-28T10:00:00Z", "elapsed_ms": 412
}))]
#[expect(dead_code, reason = "only described")]
pub(super) struct Result {
    /// Name and version of this form.
    #[schema(pattern = "^presend/1$")]
    schema: String,
    /// The address in Unicode, or the text that is none.
    address: String,
    /// The address as it is said to the mail host; null if it is none.
    #[schema(required)]
    ascii: Option<String>,
    #[schema(inline)]
    label: Label,
    /// Why: one of `/v1/reasons`.
    #[schema(example = "mailbox_exists")]
    reason: String,
    #[schema(inline)]
    action: Action,
    bounce: Bounce,
    /// When asking again can help.
    #[schema(required, format = DateTime)]
    retry_at: Option<String>,
    /// The address that was probably meant.
    #[schema(required)]
    did_you_mean: Option<String>,
    flags: Flags,
    #[schema(required)]
    mail_host: Option<MailHost>,
    evidence: Evidence,
    /// `live`, `store` for an answer that was known, `suppression`, `delivery` or `bounce` for what past mailings told.
    #[schema(pattern = "^(live|store|suppression|delivery|bounce)$")]
    source: String,
    /// When the evidence was observed.
    #[schema(format = DateTime)]
    checked_at: String,
    /// Until when it serves others.
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
    /// How long the last attempt took.
    #[schema(minimum = 0)]
    elapsed_ms: u64,
    /// The dialogues with the mail host, when they were asked for.
    #[schema(nullable = false)]
    transcript: Option<Vec<Dialogue>>,
}

/// What will happen to mail.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only described")]
enum Label {
    Valid,
    Invalid,
    CatchAll,
    Unknown,
}

/// What to do.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only described")]
enum Action {
    Send,
    Hold,
    Drop,
}

/// The bounce that is to be expected.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct Bounce {
    #[schema(pattern = "^(hard|soft|pending|none)$")]
    kind: String,
    /// One of the classes of `/v1/reasons`.
    #[schema(required)]
    class: Option<String>,
}

/// What lists and the form of the address tell.
#[derive(ToSchema)]
#[expect(dead_code, clippy::struct_excessive_bools, reason = "only described")]
struct Flags {
    /// A function, not a person.
    role: bool,
    /// A service for throw-away addresses.
    disposable: bool,
    /// A provider of free mailboxes.
    free: bool,
    /// It has a tag.
    subaddress: bool,
    /// It is written in more than ASCII.
    smtputf8: bool,
    /// The domain is a sub-domain, and every other name beside it would have the same mail hosts: it may be a typing error.
    wildcard_zone: bool,
}

/// Where mail for the domain goes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct MailHost {
    /// Id of a known provider.
    #[schema(required)]
    provider: Option<String>,
    name: String,
    #[schema(required)]
    ip: Option<String>,
    /// Of the MX record.
    #[schema(minimum = 0, maximum = 65_535)]
    preference: u16,
    /// The domain has no MX record; its own address takes mail.
    implicit: bool,
    /// Whether the session was encrypted.
    #[schema(required)]
    tls: Option<bool>,
}

/// What was observed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct Evidence {
    /// Where in the dialogue the deciding reply was given.
    #[schema(required)]
    stage: Option<String>,
    #[schema(required, minimum = 200, maximum = 599)]
    code: Option<u16>,
    #[schema(required, example = "5.1.1")]
    enhanced: Option<String>,
    /// The reply, escaped and cut.
    #[schema(required)]
    text: Option<String>,
    /// What the host does with unknown recipients.
    #[schema(pattern = "^(not_sent|undetermined|refused|accepted|contradictory)$")]
    control: String,
    /// How often the address was asked about.
    #[schema(minimum = 0)]
    attempts: u32,
}

/// One session with a mail host.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct Dialogue {
    host: String,
    peer: String,
    entries: Vec<Line>,
}

/// One line of a session.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct Line {
    #[schema(minimum = 0)]
    at_ms: u64,
    #[schema(pattern = "^(client|server|note)$")]
    who: String,
    text: String,
}

/// The results of a batch, in its order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct BatchResult {
    results: Vec<Result>,
}

/// What a reply means.
#[derive(ToSchema)]
#[schema(as = ReplyReading, example = json!({
    "class": "user_unknown", "about": "recipient", "persistence": "permanent", "evidence": "does_not_exist", "confidence": "high",
    "rule": "user_unknown", "retry_after_s": null, "blocklist": null, "bounce": {"kind": "hard", "class": "user_unknown"},
    "label": "invalid"
}))]
#[expect(dead_code, reason = "only described")]
pub(super) struct ReadingSchema {
    /// One of the classes of `/v1/reasons`.
    class: String,
    /// Whom it is about: the recipient, the sender, the server, or it does not say.
    about: String,
    persistence: String,
    /// What it says about the mailbox.
    evidence: String,
    confidence: String,
    /// The rule that decided.
    rule: String,
    /// How long the host asks to wait.
    #[schema(required, minimum = 0)]
    retry_after_s: Option<u64>,
    /// The blocklist that it names.
    #[schema(required)]
    blocklist: Option<String>,
    bounce: Bounce,
    /// `invalid`, `accepted` or `unknown`, if nothing else is known.
    label: String,
}

/// Both lists.
#[derive(ToSchema)]
#[schema(as = Reasons)]
#[expect(dead_code, reason = "only described")]
pub(super) struct ReasonSchema {
    reasons: Vec<ReasonEntry>,
    classes: Vec<ClassEntry>,
}

/// A reason.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct ReasonEntry {
    reason: String,
    /// What it means.
    sentence: String,
    /// What to do.
    advice: String,
}

/// A class.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct ClassEntry {
    class: String,
    /// What it means.
    sentence: String,
    /// What to do.
    advice: String,
}

/// Adds what every operation has: problems, keys, request ids, and the names of providers.
pub(super) fn complete(mut document: utoipa::openapi::OpenApi, version: &str) -> Vec<u8> {
    version.clone_into(&mut document.info.version);
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "`presend keys add` makes a key. Not needed on loopback while there are no keys.",
    ));
    components.add_security_scheme("key", SecurityScheme::Http(bearer.build()));
    for (path, item) in &mut document.paths.paths {
        let receives = path.starts_with("/v1/receive/");
        let open = receives || !path.starts_with("/v1") && path != "/metrics";
        let delete_takes_body = path == "/v1/suppressions";
        for (operation, takes_body) in [
            (&mut item.get, false),
            (&mut item.post, true),
            (&mut item.delete, delete_takes_body),
        ] {
            if let Some(operation) = operation {
                describe(operation, open, takes_body);
                if receives {
                    add_problems(operation, &[Code::Forbidden]);
                }
            }
        }
    }
    // A document that utoipa made can be written.
    let mut json = serde_json::to_value(&document).unwrap_or_default();
    let paths = json.pointer_mut("/paths").and_then(serde_json::Value::as_object_mut);
    for item in paths.into_iter().flat_map(serde_json::Map::values_mut) {
        let operations = item.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut);
        for operation in operations {
            let parameters = operation
                .get_mut("parameters")
                .and_then(serde_json::Value::as_array_mut);
            parameters.into_iter().flatten().for_each(never_null);
        }
    }
    let known = providers::all().iter();
    let mut names: Vec<&str> = known
        .flat_map(|provider| std::iter::once(&provider.id).chain(&provider.aliases))
        .map(|name| &**name)
        .collect();
    names.sort_unstable();
    let provider = json.pointer_mut("/components/schemas/ClassifyRequest/properties/provider");
    if let Some(schema) = provider.and_then(serde_json::Value::as_object_mut) {
        schema.remove("pattern");
        let names = names.into_iter().map(serde_json::Value::from);
        schema.insert("enum".to_owned(), names.chain([serde_json::Value::Null]).collect());
    }
    serde_json::to_vec(&json).unwrap_or_default()
}

/// A parameter may be missing; there is no way to say null.
fn never_null(parameter: &mut serde_json::Value) {
    let kind = parameter.pointer_mut("/schema/type");
    if let Some(kind) = kind
        && let Some(only) = kind.get(0).cloned()
    {
        *kind = only;
    }
}

fn describe(operation: &mut Operation, open: bool, takes_body: bool) {
    let mut codes: Vec<Code> = vec![Code::Overloaded, Code::Internal];
    if !open {
        codes.extend([Code::Unauthorized, Code::Forbidden, Code::RateLimited]);
        operation.security = Some(vec![
            SecurityRequirement::default(),
            SecurityRequirement::new::<_, _, &str>("key", []),
        ]);
    }
    if takes_body {
        codes.extend([
            Code::InvalidJson,
            Code::BodyTimeout,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
        ]);
    }
    // The HTTP library says so by itself, before there is a request.
    let too_long =
        ResponseBuilder::new().description("The target or the header of the request is too long; without a body.");
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.headers.insert(
                "X-Request-Id".to_owned(),
                RefOr::T(
                    HeaderBuilder::new()
                        .description(Some("Names the request in the server's log."))
                        .build(),
                ),
            );
        }
    }
    add_problems(operation, &codes);
    let responses = &mut operation.responses.responses;
    responses.insert("431".to_owned(), RefOr::T(too_long.build()));
}

fn add_problems(operation: &mut Operation, codes: &[Code]) {
    for code in codes {
        let status = code.status();
        let all = Code::ALL.iter().filter(|other| other.status() == status);
        let names: Vec<String> = all.map(|code| format!("`{}`", code.name())).collect();
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("ProblemBody")))
            .example(Some(serde_json::json!({
                "type": format!("urn:presend:problem:{}", code.name()), "title": code.title(), "status": status.as_u16(),
                "detail": code.title(), "code": code.name(), "request_id": "4f9d1c2ab3e45678", "errors": []
            })))
            .build();
        let response = ResponseBuilder::new()
            .description(format!("A problem: {}.", names.join(", ")))
            .content("application/problem+json", content)
            .build();
        operation
            .responses
            .responses
            .entry(status.as_u16().to_string())
            .or_insert(RefOr::T(response));
    }
}

/// This description.
///
/// OpenAPI 3.1 in JSON.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation", operation_id = "openapi",
    responses((status = 200, description = "The description.", body = serde_json::Value)),
)]
pub(super) async fn openapi(State(shared): State<Shared>) -> Response {
    page("application/json", shared.document.clone())
}

/// The page, its script and its style; nothing is loaded from elsewhere.
pub(super) async fn docs() -> Response {
    let mut response = page("text/html; charset=utf-8", include_str!("docs/index.html"));
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
        frame-ancestors 'none'";
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

pub(super) async fn script() -> Response {
    page("text/javascript; charset=utf-8", include_str!("docs/page.js"))
}

pub(super) async fn style() -> Response {
    page("text/css; charset=utf-8", include_str!("docs/page.css"))
}

fn page(kind: &'static str, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
