//! `presend check`: a few addresses, explained to a person.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::Arc,
};

use clap::ArgMatches;

use super::{
    Exit,
    args::CheckArgs,
    database,
    fault::hint,
    paint::{BOLD, DIM, paint},
    settings::{Profile, Resolved},
    signal::Signals,
    summary::is_our_side,
};
use crate::{
    dns::{MailRoute, NoMailHost, RouteFailure},
    job::{Engine, Level, Outcome, Source, Stop},
    output,
    smtp::{Speaker, Transcript},
    store::SqliteStore,
    suppress::Mailing,
    verdict::{Label, Observed, ProbeFailure},
};

/// Width of the words in front of each line.
const INDENT: usize = 16;

pub(super) fn run(args: &CheckArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let resolved = Resolved::new(&args.overlay, matches, &args.config, Profile::Interactive)?;
    let dialogue = args.verbose || args.transcript;
    let mut settings = resolved.to_settings(dialogue)?;
    if dialogue && !settings.memory.offline {
        // Kept answers have no dialogue to show.
        settings.memory.max_age.get_or_insert(std::time::Duration::ZERO);
    }
    let store = match settings.level {
        Level::Syntax => database::open_to_look_up(&resolved)?,
        Level::Dns | Level::Smtp => database::open_for_run(&resolved)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        let mut signals = Signals::listen();
        let stop = Stop::new();
        let mut answers = std::pin::pin!(answer(args, (settings, store, resolved.mailing()), &stop));
        tokio::select! {
            exit = &mut answers => return exit,
            () = signals.next() => stop.request(),
        }
        // The first signal closes the sessions politely, the second ends everything at once.
        tokio::select! {
            exit = &mut answers => exit.map(|_| Exit::Interrupted),
            () = signals.next() => Ok(Exit::Interrupted),
        }
    })?;
    match resolved.identity_hint() {
        Some(missing) => {
            hint(&missing);
            // What was asked for by name and not done is incomplete; what is only the default is not.
            let done = exit == Exit::Done && resolved.smtp_was_asked_for();
            Ok(if done { Exit::Incomplete } else { exit })
        }
        None => Ok(exit),
    }
}

async fn answer(
    args: &CheckArgs,
    (settings, store, mailing): (crate::job::Settings, Option<Arc<SqliteStore>>, Mailing),
    stop: &Stop,
) -> anyhow::Result<Exit> {
    let engine = database::attach(Engine::start(settings).await?, store, mailing)?;
    let mut exit = Exit::Done;
    let mut shown: Vec<Arc<Transcript>> = Vec::new();
    for (index, mut outcome) in engine.check(&args.addresses, stop).await?.into_iter().enumerate() {
        if outcome.verdict.label == Label::Unknown && is_our_side(outcome.verdict.reason) {
            exit = Exit::Incomplete;
        }
        if args.json {
            let mut line = Vec::with_capacity(1024);
            let detail = output::Detail {
                transcript: args.transcript,
                ..output::Detail::default()
            };
            output::write_result(&outcome, None, detail, &mut line)?;
            line.push(b'\n');
            io::stdout().write_all(&line)?;
        } else {
            // Addresses of one host share a session; its dialogue is shown once.
            outcome
                .transcripts
                .retain(|dialogue| !shown.iter().any(|other| Arc::ptr_eq(other, dialogue)));
            shown.extend(outcome.transcripts.iter().cloned());
            let gap = if index > 0 { "\n" } else { "" };
            let report = report(&outcome, args.verbose);
            write!(anstream::stdout(), "{gap}{report}")?;
        }
    }
    io::stdout().flush()?;
    Ok(exit)
}

/// The report of one address.
fn report(outcome: &Outcome, verbose: bool) -> String {
    let verdict = &outcome.verdict;
    let address = outcome
        .address
        .as_ref()
        .map_or_else(|| outcome.typed.to_string(), crate::address::Address::display);
    let mut text = format!(
        "{}  {}  {}\n",
        paint(BOLD, output::clean(&address, 300)),
        paint(output::label_style(verdict.label).bold(), verdict.label.name()),
        paint(DIM, verdict.reason.name()),
    );
    let mut line = |word: &str, said: &str| {
        let gap = " ".repeat(INDENT.saturating_sub(word.len() + 2));
        let _ = writeln!(text, "  {}{gap}{said}", paint(DIM, word));
    };
    line("why", verdict.reason.sentence());
    if let Some(fault) = &outcome.evidence.syntax {
        line("", &pointer(&outcome.typed, fault.position));
    }
    line("advice", verdict.reason.advice());
    line("action", verdict.action.name());
    if let Some(meant) = output::did_you_mean(outcome) {
        line("did you mean", &format!("{}?", output::clean(meant, 300)));
    }
    for (word, said) in [
        ("flags", flags(outcome)),
        ("route", route(outcome)),
        ("answer", answered(outcome)),
        ("told", told(outcome)),
        ("blocklist", blocklist(outcome)),
        ("asked", kept_since(outcome)),
    ] {
        if let Some(said) = said {
            line(word, &said);
        }
    }
    if let Some(at) = outcome.retry_at {
        line("retry at", &humantime::format_rfc3339_seconds(at).to_string());
    }
    if verbose {
        if let Some(rule) = rule(outcome) {
            line("rule", &rule);
        }
        line("took", &format!("{} ms", outcome.elapsed.as_millis()));
        for transcript in &outcome.transcripts {
            text.push_str(&dialogue(transcript));
        }
    }
    text
}

/// The typed text up to the fault, with a mark under it.
fn pointer(typed: &str, position: usize) -> String {
    // Far into a long text only what stands around the fault is shown.
    let skip = position.saturating_sub(60);
    let part: String = typed.chars().skip(skip).take(100).collect();
    let before: String = typed.chars().skip(skip).take(position - skip).collect();
    let columns = output::width(&output::clean(&before, 300));
    let gap = " ".repeat(INDENT + columns);
    format!(
        "{}\n{gap}{}",
        output::clean(&part, 300),
        paint(output::label_style(Label::Invalid), "^")
    )
}

fn flags(outcome: &Outcome) -> Option<String> {
    let traits = outcome.address.as_ref()?.traits();
    let all = [
        ("role address", outcome.hits.role),
        ("disposable domain", outcome.hits.disposable),
        ("free mail provider", outcome.hits.free),
        ("sub-address", traits.subaddress),
        ("needs SMTPUTF8", traits.smtputf8),
        ("quoted local-part", traits.quoted_local),
        ("zone that answers for every name", outcome.evidence.wildcard_zone),
    ];
    let set: Vec<&str> = all.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    (!set.is_empty()).then(|| set.join(", "))
}

fn route(outcome: &Outcome) -> Option<String> {
    let route = outcome.evidence.route.known()?;
    Some(match route.as_ref() {
        MailRoute::Exchangers(_) | MailRoute::ImplicitMx(_) => {
            let host = output::mail_host(&outcome.evidence)?;
            let mut text = output::clean(host.name, 255).into_owned();
            if let Some(ip) = host.ip {
                let _ = write!(text, " [{ip}]");
            }
            if host.implicit {
                text.push_str(", the domain itself (no MX)");
            } else {
                let _ = write!(text, ", preference {}", host.preference);
            }
            if let MailRoute::Exchangers(all) = route.as_ref()
                && all.len() > 1
            {
                let _ = write!(text, ", one of {}", all.len());
            }
            if let Some(provider) = host.provider {
                let _ = write!(text, ", {provider}");
            }
            text.push_str(match host.tls {
                Some(true) => ", TLS",
                Some(false) => ", not encrypted",
                None => "",
            });
            text
        }
        MailRoute::NullMx => "null MX: the domain takes no mail".into(),
        MailRoute::NoSuchDomain => "none: the domain does not exist".into(),
        MailRoute::NoMailHost(NoMailHost::NoRecords) => "none: neither MX nor address".into(),
        MailRoute::NoMailHost(NoMailHost::LoopbackMx) => "none: every MX is the local machine".into(),
        MailRoute::Failure(RouteFailure::Dns(failure)) => format!("not found out: {failure}"),
        MailRoute::Failure(RouteFailure::PrivateMx(_)) => "every mail host has a private or reserved address".into(),
        MailRoute::Failure(RouteFailure::MxIsAddress) => "the MX is an address instead of a name".into(),
        MailRoute::Failure(RouteFailure::MxUnresolvable) => "no MX host has an address".into(),
        MailRoute::Failure(RouteFailure::OtherFamily) => "every mail host is of an IP version that is not used".into(),
        MailRoute::Failure(RouteFailure::ResolverRewrites) => "the resolver invents answers".into(),
    })
}

fn answered(outcome: &Outcome) -> Option<String> {
    Some(match &outcome.evidence.answer {
        Observed::Known(answer) => {
            let enhanced = answer
                .reply
                .enhanced()
                .map(|code| format!(" {code}"))
                .unwrap_or_default();
            let said = output::said(outcome, None).unwrap_or_default();
            // After a refusal the control recipient decides nothing.
            let control = match output::control(&outcome.evidence) {
                control if answer.reply.code().is_positive() && control != "not_sent" => {
                    format!("; control recipient: {control}")
                }
                _ => String::new(),
            };
            let stage = answer.stage.name();
            format!("{}{enhanced} {said} (at {stage}{control})", answer.reply.code())
        }
        Observed::Failed(failure) => failed(*failure).into(),
        // The reason says why nobody was asked.
        Observed::NotTried(_) => return None,
    })
}

/// What past mailings or a person told.
fn told(outcome: &Outcome) -> Option<String> {
    let told = outcome.evidence.told.as_ref()?;
    Some(output::clean(&told.text, 300).into_owned())
}

/// When an answer from the store was given.
fn kept_since(outcome: &Outcome) -> Option<String> {
    let at = humantime::format_rfc3339_seconds(outcome.checked_at);
    (outcome.source == Source::Store).then(|| format!("at {at}, kept since; `--refresh` asks again"))
}

/// The list that the host named; the reason's advice says what to do about it.
fn blocklist(outcome: &Outcome) -> Option<String> {
    let list = outcome.evidence.answer.known()?.meaning.blocklist.as_ref()?;
    Some(output::clean(list, 100).into_owned())
}

fn failed(failure: ProbeFailure) -> &'static str {
    match failure {
        ProbeFailure::Unreachable => "none: no host could be reached",
        ProbeFailure::Proxy => "none: the proxy did not connect us",
        ProbeFailure::Timeout => "none in time",
        ProbeFailure::Tarpit => "too slow to finish",
        ProbeFailure::ConnectionLost => "none: the connection broke",
        ProbeFailure::NotSmtp => "not SMTP",
        ProbeFailure::Loop => "our own greeting",
        ProbeFailure::Protocol => "a reply that breaks the protocol",
        ProbeFailure::Desynchronised => "replies that do not match the commands",
        ProbeFailure::TlsInjection => "bytes injected around STARTTLS",
        ProbeFailure::NeedsSmtpUtf8 => "not asked: the host does not offer SMTPUTF8",
        ProbeFailure::Internal => "none, by our own fault",
    }
}

fn rule(outcome: &Outcome) -> Option<String> {
    let meaning = &outcome.evidence.answer.known()?.meaning;
    Some(
        format!(
            "{}: about the {:?}, {:?} confidence",
            meaning.rule, meaning.about, meaning.confidence,
        )
        .to_lowercase(),
    )
}

fn dialogue(transcript: &Transcript) -> String {
    let mut text = format!(
        "\n  {} [{}]\n",
        paint(BOLD, output::clean(&transcript.host, 255)),
        transcript.peer
    );
    for entry in &transcript.entries {
        let who = match entry.who {
            Speaker::Client => ">",
            Speaker::Server => "<",
            Speaker::Note => "*",
        };
        let style = if entry.who == Speaker::Server {
            anstyle::Style::new()
        } else {
            DIM
        };
        let at = format!("{:>8.3} s", entry.at.as_secs_f64());
        let said = paint(style, output::clean(&entry.text, 500));
        let _ = writeln!(text, "  {} {who} {said}", paint(DIM, at));
    }
    text
}
