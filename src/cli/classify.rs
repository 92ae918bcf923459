//! `presend classify`: what replies say, for people and programs.

use std::{
    borrow::Cow,
    fmt::Write as _,
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use clap::ArgMatches;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Exit,
    args::ClassifyArgs,
    fault::{fault, note},
    paint::{BOLD, DIM, counted, paint},
    replies::{Item, Replies, object},
    settings::{Overlay, Profile, Resolved},
};
use crate::{
    output,
    replies::{
        About, Class, Classifier, Confidence, Existence, Meaning,
        providers::{self, Provider},
    },
    smtp::{Reply, Stage},
    verdict::{Alone, Policy, read_alone},
};

/// Output is passed on when so much has gathered, or when nothing more can be read at once.
const CHUNK: usize = 64 * 1024;

pub(super) fn run(args: &ClassifyArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let overlay = Overlay::of_classify(args.replies.clone(), args.bounce.clone());
    let resolved = Resolved::new(&overlay, matches, &args.config, Profile::Bulk)?;
    let own = resolved.replies().map(Classifier::load).transpose()?;
    let reader = Reader {
        classifier: own.as_ref().unwrap_or_else(|| Classifier::built_in()),
        policy: resolved.policy(),
        stage: args.stage,
        provider: args.provider.as_deref().map(known_provider).transpose()?,
        mx: args.mx.as_deref(),
        json: args.json,
    };
    match args.reply.as_deref() {
        None if io::stdin().is_terminal() => Err(fault(
            "there is no reply to read",
            "give one, as in `presend classify '550 5.1.1 User unknown'`, or pipe them in",
        )),
        None | Some("-") => reader.stream(io::stdin().lock()),
        // A name is taken for a file only if it cannot be a reply.
        Some(name) if Reply::parse(name).is_none() && Path::new(name).is_file() => {
            let file = File::open(name);
            reader.stream(file.map_err(|error| fault(format!("cannot read `{name}`: {error}"), ROW_HINT))?)
        }
        Some(reply) if reply.trim().is_empty() => Err(fault("the reply is empty", "quote it: '550 5.1.1 ...'")),
        Some(reply) => reader.one(reply),
    }
}

/// The provider of this id or alias.
pub(super) fn known_provider(name: &str) -> anyhow::Result<&'static Provider> {
    providers::named(&name.to_ascii_lowercase())
        .ok_or_else(|| fault(format!("no provider is called `{name}`"), provider_hint(name)))
}

/// The names that were probably meant, or all of them.
fn provider_hint(name: &str) -> String {
    let names = || {
        let ids = providers::all().iter();
        ids.flat_map(|provider| std::iter::once(&provider.id).chain(&provider.aliases))
    };
    let name = name.to_ascii_lowercase();
    let mut close: Vec<(f64, &str)> = names()
        .map(|known| (strsim::jaro_winkler(&name, known), &**known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    close.sort_by(|a, b| b.0.total_cmp(&a.0));
    if close.is_empty() {
        let ids: Vec<&str> = providers::all().iter().map(|provider| &*provider.id).collect();
        return format!("the providers are `{}`", ids.join("`, `"));
    }
    let close: Vec<&str> = close.into_iter().take(3).map(|(_, known)| known).collect();
    format!("did you mean `{}`?", close.join("`, `"))
}

/// How replies are read and shown.
struct Reader<'a> {
    classifier: &'a Classifier,
    policy: Policy,
    stage: Stage,
    provider: Option<&'static Provider>,
    mx: Option<&'a str>,
    json: bool,
}

/// One question: what a row says, and what the command line says where the row is silent.
struct Question<'a> {
    reply: Cow<'a, str>,
    stage: Stage,
    provider_name: Option<&'a str>,
    mx: Option<&'a str>,
    provider: Option<&'static Provider>,
    /// Members of the row that are not ours.
    rest: Option<&'a Map<String, Value>>,
}

impl Reader<'_> {
    /// The reply of the command line; `\n` in it is a line end.
    fn one(&self, typed: &str) -> anyhow::Result<Exit> {
        let mut out = Vec::new();
        let item = if typed.trim_start().starts_with('{') {
            object(typed.as_bytes(), false)
        } else {
            Item::Text(typed.replace("\\r\\n", "\n").replace("\\n", "\n"))
        };
        let fine = self.answer(&item, 1, &mut out);
        self.print(&out)?;
        fine.map_err(|why| fault(why, ROW_HINT))?;
        Ok(Exit::Done)
    }

    /// Every reply of a file or a pipe; a line that cannot be read is answered too, and the run goes on.
    fn stream(&self, input: impl Read) -> anyhow::Result<Exit> {
        let mut replies = Replies::new(input);
        let mut out = Vec::with_capacity(2 * CHUNK);
        let (mut all, mut bad) = (0_u64, 0_u64);
        while let Some((number, item)) = replies.next()? {
            if !self.json && all > 0 {
                out.push(b'\n');
            }
            all += 1;
            if let Err(why) = self.answer(&item, number, &mut out) {
                bad += 1;
                if !self.json {
                    self.print(&std::mem::take(&mut out))?;
                    note(&format!("line {number}: {why}"));
                }
            }
            if out.len() >= CHUNK || replies.is_drained() {
                self.print(&out)?;
                out.clear();
            }
        }
        self.print(&out)?;
        match (all, bad) {
            (0, _) => Err(fault(
                "there is no reply in the input",
                "give one reply a line, as text or as NDJSON",
            )),
            (_, 0) => Ok(Exit::Done),
            (_, bad) => Err(fault(
                format!("{} of {all} could not be read", counted(bad, "line", "lines")),
                ROW_HINT,
            )),
        }
    }

    fn print(&self, out: &[u8]) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        if self.json {
            io::stdout().write_all(out)?;
            io::stdout().flush()
        } else {
            anstream::stdout().write_all(out)
        }
    }

    /// Appends the answer to one reply, or the error object; the error says why.
    fn answer(&self, item: &Item, number: u64, out: &mut Vec<u8>) -> Result<(), String> {
        let question = match item {
            Item::Text(text) => Ok(self.question(text)),
            Item::Object(object) => self.question_of_row(object),
            Item::Unreadable(why) => Err(why.clone()),
        };
        let written = question.map(|question| {
            let alone = read_alone(
                self.classifier,
                (question.stage, &question.reply),
                question.provider,
                &self.policy,
            );
            if self.json {
                write_json(&question, &alone, out);
            } else {
                out.extend_from_slice(report(&question, &alone).as_bytes());
            }
        });
        if self.json
            && let Err(why) = &written
        {
            // Memory cannot fail to be written.
            let _ = serde_json::to_writer(&mut *out, &serde_json::json!({ "line": number, "error": why }));
            out.push(b'\n');
        }
        written
    }

    fn question<'q>(&'q self, text: &'q str) -> Question<'q> {
        Question {
            reply: Cow::Borrowed(text),
            stage: self.stage,
            provider_name: self.provider.map(|provider| &*provider.id),
            mx: self.mx,
            provider: self.provider.or_else(|| providers::recognise(self.mx?)),
            rest: None,
        }
    }

    fn question_of_row<'q>(&'q self, row: &'q Map<String, Value>) -> Result<Question<'q>, String> {
        let text = |key: &str| match row.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("`{key}` must be a text")),
        };
        let reply = text("reply")?.ok_or("`reply` is missing")?;
        let stage = text("stage")?.map(str::parse::<Stage>).transpose();
        let stage = stage.map_err(|error| error.to_string())?.unwrap_or(self.stage);
        let mut question = self.question(reply);
        let (provider, mx) = (text("provider")?, text("mx")?);
        if let Some(name) = provider {
            let known = providers::named(&name.to_ascii_lowercase());
            let known = known.ok_or_else(|| format!("no provider is called `{name}`; {}", provider_hint(name)))?;
            question.provider = Some(known);
            question.provider_name = Some(name);
            question.mx = mx;
        } else if let Some(mx) = mx {
            question.provider = providers::recognise(mx);
            question.provider_name = None;
            question.mx = Some(mx);
        }
        Ok(Question {
            stage,
            rest: Some(row),
            ..question
        })
    }
}

const ROW_HINT: &str = "a line is a reply, or a JSON object like {\"reply\":\"550 5.1.1 ...\",\"stage\":\"rcpt\",\"provider\":null,\"mx\":null}";

/// What was asked.
#[derive(Serialize)]
struct Asked<'a> {
    reply: &'a str,
    stage: Stage,
    provider: Option<&'a str>,
    mx: Option<&'a str>,
}

/// Names of ours that a row may hold as well: ours replace them.
const OURS: [&str; 14] = [
    "reply",
    "stage",
    "provider",
    "mx",
    "class",
    "about",
    "persistence",
    "evidence",
    "confidence",
    "rule",
    "retry_after_s",
    "blocklist",
    "bounce",
    "label",
];

/// One line of NDJSON: the input's members, then ours.
fn write_json(question: &Question<'_>, alone: &Alone, out: &mut Vec<u8>) {
    let asked = Asked {
        reply: &question.reply,
        stage: question.stage,
        provider: question.provider_name,
        mx: question.mx,
    };
    let answered = output::ReplyReading::of(alone);
    // Memory cannot fail to be written, and no map key is anything but a string. The objects are written as one.
    let _ = serde_json::to_writer(&mut *out, &asked);
    out.pop();
    let rest = question.rest.into_iter().flatten();
    for (key, value) in rest.filter(|(key, _)| !OURS.contains(&key.as_str())) {
        out.push(b',');
        let _ = serde_json::to_writer(&mut *out, key);
        out.push(b':');
        let _ = serde_json::to_writer(&mut *out, value);
    }
    let start = out.len();
    let _ = serde_json::to_writer(&mut *out, &answered);
    if let Some(brace) = out.get_mut(start) {
        *brace = b',';
    }
    out.push(b'\n');
}

/// The answer for a person.
fn report(question: &Question<'_>, alone: &Alone) -> String {
    let meaning = &alone.meaning;
    let class = meaning.class;
    let mut text = String::new();
    for line in question.reply.lines().take(20) {
        let _ = writeln!(text, "{}", paint(BOLD, output::clean(line, 500)));
    }
    let mut line = |word: &str, said: &str| {
        let _ = writeln!(text, "  {}{}{said}", paint(DIM, word), " ".repeat(14 - word.len()));
    };
    if let Some(provider) = question.provider {
        line("provider", &provider.name);
    }
    line("says", &format!("{}: {}", class.name(), class.sentence()));
    line("about", about(meaning.about));
    if let Some(proof) = proof(meaning.existence) {
        line("proves", proof);
    }
    let confidence = confidence(meaning.confidence);
    line("rule", &format!("{} ({confidence} confidence)", meaning.rule));
    line("label", &format!("{}, if nothing else is known", alone.label()));
    line("to do", class.advice());
    line("bounce", alone.verdict.bounce.kind.name());
    if let Some(after) = wait(meaning) {
        line("retry after", &humantime::format_duration(after).to_string());
    }
    if let Some(list) = &meaning.blocklist {
        line("blocklist", &output::clean(list, 100));
    }
    line("elsewhere", &elsewhere(class));
    text
}

/// How long the reply asks to wait from now on.
fn wait(meaning: &Meaning) -> Option<Duration> {
    meaning.retry_after?.wait(SystemTime::now())
}

fn about(about: About) -> &'static str {
    match about {
        About::Recipient => "the recipient",
        About::Sender => "us, the sender",
        About::Server => "the server",
        About::Unclear => "it does not say whom",
    }
}

fn proof(existence: Existence) -> Option<&'static str> {
    match existence {
        Existence::DoesNotExist => Some("the mailbox does not exist"),
        Existence::Undeliverable => Some("mail to the address cannot be delivered"),
        Existence::Exists => Some("the mailbox exists"),
        Existence::None => None,
    }
}

fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    }
}

/// What other systems call this class.
pub(super) fn elsewhere(class: Class) -> String {
    let zerobounce = class.zerobounce();
    let detail = if zerobounce.sub_status.is_empty() { "" } else { "/" };
    let names = [
        ("HubSpot", class.hubspot().to_owned()),
        ("Mailpro", class.mailpro().to_owned()),
        (
            "ZeroBounce",
            format!("{}{detail}{}", zerobounce.status, zerobounce.sub_status),
        ),
        ("NeverBounce", class.neverbounce().to_owned()),
        ("RFC 3463", class.enhanced().to_owned()),
    ];
    let given = names.iter().filter(|(_, name)| !name.is_empty());
    given
        .map(|(system, name)| format!("{system} {name}"))
        .collect::<Vec<_>>()
        .join(", ")
}
