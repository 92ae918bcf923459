//! A presend server asked instead of the DNS and mail hosts: `POST /v1/verify/batch`, with the patience that it asks for.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use ureq::http::{Response, StatusCode};

use super::Answer;
use crate::{input::InputError, job::Level, output::clean};

/// Addresses of one request: no server takes more.
pub const PORTION: usize = 100;
/// How long one portion may take, late answers included.
const PATIENCE: Duration = Duration::from_mins(15);
/// How long a server may wait before it answers.
const WAIT: Duration = Duration::from_secs(30);
/// Pauses after faults of the network or the server, before it is given up.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// A server.
pub struct Api {
    agent: ureq::Agent,
    base: String,
    key: Option<String>,
    level: Level,
    max_age: Option<Duration>,
    /// Take what is known instead of waiting for late answers.
    hurried: bool,
}

/// A server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// What was said to it is wrong.
    #[error("the presend server refuses: {said} (HTTP {status})")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// Its own words.
        said: String,
    },
    /// The address is none.
    #[error("`--api` {0}")]
    Url(&'static str),
    /// It cannot be reached, or does not answer as a presend server does.
    #[error("the presend server does not answer: {0}")]
    Unreachable(String),
    /// What is to be asked cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
}

#[derive(Serialize)]
struct Request<'a> {
    addresses: &'a [String],
    level: &'static str,
    wait_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    label: String,
    reason: String,
    bounce: Bounce,
}

#[derive(Deserialize)]
struct Bounce {
    kind: String,
}

/// A problem of RFC 9457.
#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    detail: String,
    #[serde(default)]
    title: String,
}

/// What came of one request.
enum Came {
    Answers(Vec<Answer>),
    /// So far; the rest is to be fetched there, then.
    Late(Vec<Answer>, Option<String>, Duration),
    Busy(Duration),
    Fault(String),
}

impl Api {
    /// A server at `https://host[:port]`.
    ///
    /// # Errors
    /// The address is none, or a key would go over the network in clear.
    pub fn new(
        url: &str,
        key: Option<&str>,
        (level, max_age): (Level, Option<Duration>),
        hurried: bool,
    ) -> Result<Self, ApiError> {
        let parsed =
            url::Url::parse(url).map_err(|_| ApiError::Url("is no address such as `https://presend.example.com`"))?;
        let local = match parsed.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => return Err(ApiError::Url("names no host")),
        };
        match parsed.scheme() {
            "https" => {}
            "http" if local || key.is_none() => {}
            "http" => return Err(ApiError::Url("would send the key in clear; use `https://`")),
            _ => return Err(ApiError::Url("must begin with `https://`")),
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(ApiError::Url("holds a login; put the key into `PRESEND_API_KEY`"));
        }
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(WAIT * 2))
            .user_agent(concat!("presend/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            base: url.trim_end_matches('/').to_owned(),
            key: key.map(str::to_owned),
            level,
            max_age,
            hurried,
        })
    }

    /// Asks about addresses, [`PORTION`] at most; waits as long as the server asks for, within limits.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub fn ask(&self, addresses: &[String]) -> Result<Vec<Answer>, ApiError> {
        let until = Instant::now() + PATIENCE;
        let mut faults = AGAIN.iter();
        let mut place: Option<String> = None;
        let mut so_far = None;
        loop {
            let came = match &place {
                Some(place) => self.get(place, addresses.len()),
                None => self.post(addresses),
            }?;
            let pause = match came {
                Came::Answers(answers) => return Ok(answers),
                Came::Late(answers, _, _) if self.hurried => return Ok(answers),
                Came::Late(answers, at, pause) => {
                    so_far = Some(answers);
                    place = at.or(place);
                    pause
                }
                Came::Busy(pause) => pause,
                Came::Fault(said) => match faults.next() {
                    Some(pause) => *pause,
                    None => return so_far.ok_or(ApiError::Unreachable(said)),
                },
            };
            if Instant::now() + pause > until {
                return so_far.ok_or_else(|| ApiError::Unreachable("it is busy for too long".into()));
            }
            thread::sleep(pause);
        }
    }

    fn post(&self, addresses: &[String]) -> Result<Came, ApiError> {
        let request = Request {
            addresses,
            level: self.level.name(),
            wait_ms: u64::try_from(WAIT.as_millis()).unwrap_or(0),
            max_age: self.max_age.map(|age| age.as_secs().min(31_536_000)),
        };
        let mut post = self.agent.post(format!("{}/v1/verify/batch", self.base));
        if let Some(key) = &self.key {
            post = post.header("authorization", format!("Bearer {key}"));
        }
        came(post.send_json(&request), addresses.len())
    }

    fn get(&self, place: &str, count: usize) -> Result<Came, ApiError> {
        let mut get = self.agent.get(format!("{}{place}", self.base));
        if let Some(key) = &self.key {
            get = get.header("authorization", format!("Bearer {key}"));
        }
        came(get.call(), count)
    }
}

fn came(response: Result<Response<ureq::Body>, ureq::Error>, count: usize) -> Result<Came, ApiError> {
    let mut response = match response {
        Ok(response) => response,
        Err(error) => return Ok(Came::Fault(clean(&error.to_string(), 200).into_owned())),
    };
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let after = header("retry-after")
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    // The key goes nowhere but to this server.
    let place = header("location").filter(|place| place.starts_with("/v1/verifications/"));
    let status = response.status();
    let text = match response.body_mut().read_to_string() {
        Ok(text) => text,
        Err(error) => return Ok(Came::Fault(clean(&error.to_string(), 200).into_owned())),
    };
    match status {
        StatusCode::OK | StatusCode::ACCEPTED => {
            let Some(answers) = read(&text, count) else {
                return Ok(Came::Fault("what it says are no results of presend".into()));
            };
            Ok(if status == StatusCode::OK {
                Came::Answers(answers)
            } else {
                Came::Late(answers, place, after.unwrap_or(Duration::from_secs(5)))
            })
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Ok(Came::Busy(after.unwrap_or(Duration::from_secs(5))))
        }
        status if status.is_server_error() => Ok(Came::Fault(format!("HTTP {}", status.as_u16()))),
        status => {
            let problem = serde_json::from_str::<Problem>(&text).ok();
            let said = problem.map(|problem| {
                if problem.detail.is_empty() {
                    problem.title
                } else {
                    problem.detail
                }
            });
            let said = said
                .filter(|said| !said.is_empty())
                .unwrap_or_else(|| "it is no presend server".into());
            Err(ApiError::Refused {
                status: status.as_u16(),
                said: clean(&said, 300).into_owned(),
            })
        }
    }
}

fn read(text: &str, count: usize) -> Option<Vec<Answer>> {
    let results: Results = serde_json::from_str(text).ok()?;
    let answer = |one: One| Answer::named(&one.label, &one.reason, one.bounce.kind == "hard");
    let answers: Option<Vec<Answer>> = results.results.into_iter().map(answer).collect();
    answers.filter(|answers| answers.len() == count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_sent_in_clear() {
        let api = |url, key| Api::new(url, key, (Level::Dns, None), false).map(drop);
        for (url, key, fine) in [
            ("https://presend.example.com", Some("k"), true),
            ("http://127.0.0.1:8025/", Some("k"), true),
            ("http://localhost:8025", Some("k"), true),
            ("http://presend.example.com", None, true),
            ("http://presend.example.com", Some("k"), false),
            ("ftp://presend.example.com", None, false),
            ("https://user:k@presend.example.com", None, false),
            ("presend.example.com", None, false),
        ] {
            assert_eq!(api(url, key).is_ok(), fine, "{url}");
        }
    }

    #[test]
    fn results_are_as_many_as_addresses() {
        let one = r#"{"label":"invalid","reason":"null_mx","bounce":{"kind":"hard","class":"x"},"more":1}"#;
        let text = format!("{{\"results\":[{one},{one}]}}");
        assert_eq!(read(&text, 2).unwrap()[1].reason, "null_mx");
        assert!(read(&text, 1).is_none() && read("{}", 0).is_none() && read("[]", 0).is_none());
    }
}
