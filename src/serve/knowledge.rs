//! What the API says without asking anybody: what replies mean, what reasons there are.

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Shared,
    body::{Strict, json},
    document::{ReadingSchema, ReasonSchema},
    problem::{Code, Problem},
};
use crate::{
    output::{self, ReplyReading},
    replies::providers,
    smtp::Stage,
    verdict::read_alone,
};

/// Characters of a reply that are read.
const LONGEST: usize = 10_000;
/// Characters of a name.
const LONGEST_NAME: usize = 255;

/// An SMTP reply to explain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reply": "550 5.1.1 <jane@example.com>: User unknown"}))]
pub(super) struct ClassifyRequest {
    /// The whole reply; lines are separated by `\n`.
    #[schema(
        min_length = 1,
        max_length = 10_000,
        example = "550 5.1.1 <jane@example.com>: User unknown"
    )]
    reply: String,
    /// Where in the dialogue it was given; `rcpt` when it is not said.
    #[schema(value_type = Option<String>, pattern = "^(connect|greeting|ehlo|start_tls|mail|rcpt|rset|quit|data)$", example = "rcpt")]
    stage: Option<String>,
    /// Provider whose host said it: an id or an alias of `presend lists show providers`.
    #[schema(max_length = 255, pattern = "^[A-Za-z0-9._-]+$", example = "google")]
    provider: Option<String>,
    /// MX host that said it; the provider is recognised by its name.
    #[schema(max_length = 255, example = "mx1.example.com")]
    mx: Option<String>,
}

/// Explain an SMTP reply.
///
/// What it says, about whom, and what follows for a bounce. Nobody is asked.
#[utoipa::path(
    post, path = "/v1/classify", tag = "knowledge", operation_id = "classify", request_body = ClassifyRequest,
    responses((status = 200, description = "What the reply means.", body = ReadingSchema)),
)]
pub(super) async fn classify(
    State(shared): State<Shared>,
    Strict(request): Strict<ClassifyRequest>,
) -> Result<Response, Problem> {
    for (text, most, pointer) in [
        (Some(&request.reply), LONGEST, "/reply"),
        (request.provider.as_ref(), LONGEST_NAME, "/provider"),
        (request.mx.as_ref(), LONGEST_NAME, "/mx"),
    ] {
        if text.is_some_and(|text| text.chars().count() > most) {
            return Err(
                Problem::new(Code::InvalidValue, format!("The text has more than {most} characters.")).at(pointer),
            );
        }
    }
    if request.reply.is_empty() {
        return Err(Problem::new(Code::InvalidValue, "The reply is empty.").at("/reply"));
    }
    let stage = request.stage.as_deref().map(str::parse::<Stage>).transpose();
    let stage = stage.map_err(|error| Problem::new(Code::InvalidValue, error).at("/stage"))?;
    let named = |name: &String| {
        let unknown = || Problem::new(Code::InvalidValue, format!("No provider is called `{name}`.")).at("/provider");
        providers::named(&name.to_ascii_lowercase()).ok_or_else(unknown)
    };
    let provider = match (&request.provider, &request.mx) {
        (Some(name), _) => Some(named(name)?),
        (None, Some(mx)) => providers::recognise(mx),
        (None, None) => None,
    };
    let engine = shared.engines.any();
    let stage = stage.unwrap_or(Stage::Rcpt);
    let alone = read_alone(engine.classifier(), (stage, &request.reply), provider, &engine.policy());
    Ok(json(&ReplyReading::of(&alone)))
}

/// Every reason and class.
#[derive(Serialize)]
struct Reasons {
    reasons: Vec<output::Entry>,
    classes: Vec<output::Entry>,
}

/// List every reason and class.
///
/// The closed lists of `reason` and `bounce.class`, with what they mean, what to do, and other systems' names for them.
#[utoipa::path(
    get, path = "/v1/reasons", tag = "knowledge", operation_id = "reasons",
    responses((status = 200, description = "Both lists.", body = ReasonSchema)),
)]
pub(super) async fn reasons() -> Response {
    json(&Reasons {
        reasons: output::reasons(),
        classes: output::classes(),
    })
}
