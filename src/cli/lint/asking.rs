//! Who is asked about the addresses: nobody, the DNS, the mail hosts, or a presend server; and what the cache knows already.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    super::{
        database,
        fault::{fault, note},
        settings::IDENTITY_HINT,
    },
    File, Plan, Tables,
    interrupt::Interrupt,
};
use crate::{
    job::{Engine, Level, Progress, Settings, Stop},
    lint::{
        About, Answer, Answers, Questions,
        api::{Api, ApiError, PORTION},
        is_decided,
    },
    store::SqliteStore,
    suppress::Mailing,
};

/// How long the cache is believed about a domain: as long as about an address that it makes invalid.
const DOMAIN: Duration = Duration::from_hours(3 * 24);
/// An answer may come from a clock that ran ahead by so much.
const CLOCKS_DIFFER: Duration = Duration::from_mins(5);

/// What was found out.
#[derive(Default)]
pub(super) struct Known {
    /// `None` below the DNS level.
    pub(super) answers: Option<Answers>,
    pub(super) interrupted: bool,
    /// Somebody who should have told did not; why.
    pub(super) incomplete: Option<String>,
}

/// Refuses what cannot be asked before anything is read.
pub(super) fn refuse(plan: &Plan) -> anyhow::Result<()> {
    let offline = plan.settings.memory.offline;
    if offline && plan.lint.api.is_some() {
        return Err(fault(
            "`--api` asks a server and `--offline` asks nobody",
            "leave one of them out",
        ));
    }
    if offline && !has_cache(plan) && plan.settings.level > Level::Syntax {
        return Err(fault(
            "`--offline` answers from a cache, and none was named",
            "name one with `--cache FILE`",
        ));
    }
    if plan.settings.level == Level::Smtp && plan.lint.api.is_none() && plan.settings.identity.is_none() {
        return Err(fault(
            "`--level smtp` asks mail hosts, and nobody said as whom",
            IDENTITY_HINT,
        ));
    }
    Ok(())
}

/// A database is used only where somebody names one: a pipeline leaves nothing behind by itself.
fn has_cache(plan: &Plan) -> bool {
    plan.lint.cache.is_some() || plan.resolved.names_a_database()
}

/// Reads the files once for what has to be asked, asks, and rewinds them.
pub(super) fn answers(
    plan: &Plan,
    files: &[File],
    tables: &mut Tables,
    interrupt: &Interrupt,
) -> anyhow::Result<Known> {
    let level = plan.settings.level;
    if level == Level::Syntax {
        return Ok(Known::default());
    }
    let about = if level == Level::Dns {
        About::Domains
    } else {
        About::Addresses
    };
    let questions = gather(plan, about, files, tables)?;
    interrupt.asking();
    let known = ask_somebody(plan, about, questions, interrupt);
    interrupt.asked();
    known
}

fn ask_somebody(plan: &Plan, about: About, questions: Questions, interrupt: &Interrupt) -> anyhow::Result<Known> {
    if let Some(url) = &plan.lint.api {
        return by_server(plan, url, questions, interrupt);
    }
    let (runtime, stop) = (&interrupt.runtime, &interrupt.stop);
    let known = match about {
        About::Domains => {
            let store = has_cache(plan).then(|| database::open(&plan.resolved)).transpose()?;
            runtime.block_on(by_dns(plan, store.as_ref(), questions, stop))?
        }
        About::Addresses => {
            let store = if has_cache(plan) {
                database::open_for_run(&plan.resolved)?
            } else {
                None
            };
            let mut answers = Answers::default();
            let (_, interrupted) =
                runtime.block_on(ask(plan.settings.clone(), store, questions, (&mut answers, stop)))?;
            Known {
                answers: Some(answers),
                interrupted,
                incomplete: None,
            }
        }
    };
    Ok(known)
}

/// What has to be asked about the files that can be read.
fn gather(plan: &Plan, about: About, files: &[File], tables: &mut Tables) -> anyhow::Result<Questions> {
    let mut questions = Questions::new(about, plan.settings.rules)?;
    let lists = &plan.settings.user_lists;
    for ((file, table), failed) in files.iter().zip(&mut tables.all).zip(&mut tables.failed) {
        let Some(open) = table else { continue };
        let decided = |address: &_| is_decided(lists, address);
        let read = questions
            .gather(open, file.changed.as_ref(), &decided)
            .and_then(|()| open.rewind());
        if let Err(error) = read {
            *failed = Some(error);
            *table = None;
        }
    }
    Ok(questions)
}

type Told = Vec<(Box<str>, Answer)>;

async fn ask(
    settings: Settings,
    store: Option<Arc<SqliteStore>>,
    questions: Questions,
    (answers, stop): (&mut Answers, &Stop),
) -> anyhow::Result<(Told, bool)> {
    if questions.is_empty() {
        return Ok((Vec::new(), false));
    }
    let engine = Engine::start(settings).await?;
    let engine = database::attach(engine, store, Mailing::default())?;
    let progress = Progress::default();
    let told = questions.ask(&engine, answers, (&progress, stop.clone())).await?;
    Ok((told, stop.is_requested()))
}

/// Looks domains up that the cache does not know.
async fn by_dns(plan: &Plan, store: Option<&SqliteStore>, questions: Questions, stop: &Stop) -> anyhow::Result<Known> {
    let memory = plan.settings.memory;
    let mut answers = Answers::default();
    let mut left = questions;
    if let Some(store) = store.filter(|_| !memory.refresh) {
        let most = memory.max_age.or((!memory.offline).then_some(DOMAIN));
        let (domains, now) = (left.domains().to_vec(), SystemTime::now());
        let kept = store.domain_answers(domains.clone())?;
        for (domain, kept) in domains.iter().zip(kept) {
            let Some((reason, at)) = kept else { continue };
            let age = now.duration_since(at).or_else(|early| {
                let early = early.duration();
                if early <= CLOCKS_DIFFER {
                    Ok(Duration::ZERO)
                } else {
                    Err(early)
                }
            });
            let fresh = age.is_ok_and(|age| most.is_none_or(|most| age <= most));
            if let Some(answer) = Answer::of_dns(&reason).filter(|_| fresh) {
                answers.of_domain(domain, answer);
            }
        }
        left = left.without(&|domain| answers.knows_domain(domain))?;
    }
    if memory.offline {
        for domain in left.domains() {
            answers.of_domain(domain, Answer::offline());
        }
        return Ok(Known {
            answers: Some(answers),
            ..Known::default()
        });
    }
    let (told, interrupted) = ask(plan.settings.clone(), None, left, (&mut answers, stop)).await?;
    if let Some(store) = store {
        // What is about the network of the moment is nobody's answer tomorrow.
        let lasting = told
            .into_iter()
            .filter(|(_, answer)| Answer::of_dns(answer.reason).is_some());
        let lasting = lasting.map(|(domain, answer)| (domain, answer.reason)).collect();
        store.keep_domain_answers(lasting, SystemTime::now())?;
    }
    Ok(Known {
        answers: Some(answers),
        interrupted,
        incomplete: None,
    })
}

/// Asks a presend server, a portion after the other; when it is gone, nobody knows about the rest.
fn by_server(plan: &Plan, url: &str, questions: Questions, interrupt: &Interrupt) -> anyhow::Result<Known> {
    let memory = plan.settings.memory;
    let max_age = if memory.refresh {
        Some(Duration::ZERO)
    } else {
        memory.max_age
    };
    let hurried = plan.settings.max_wait.is_zero();
    let api = Api::new(url, plan.what.key.as_deref(), (plan.settings.level, max_age), hurried);
    let hint = "`--api https://presend.example.com`, and the key in `PRESEND_API_KEY`";
    let api = Arc::new(api.map_err(|error| fault(error.to_string(), hint))?);
    let (mut answers, mut gone) = (Answers::default(), None);
    let mut each = |addresses: &[String]| -> Result<Vec<Answer>, ApiError> {
        if interrupt.happened() {
            return Ok(vec![Answer::interrupted(); addresses.len()]);
        }
        if gone.is_none() {
            match portion(&api, addresses, interrupt) {
                Ok(answers) => return Ok(answers),
                Err(ApiError::Unreachable(said)) => gone = Some(said),
                Err(error) => return Err(error),
            }
        }
        Ok(vec![Answer::server_gone(); addresses.len()])
    };
    questions
        .in_portions(PORTION, &mut answers, &mut each)
        .map_err(|error| match &error {
            ApiError::Refused { .. } => fault(error.to_string(), hint),
            ApiError::Url(_) | ApiError::Unreachable(_) | ApiError::Input(_) => error.into(),
        })?;
    let incomplete = gone.map(|said| format!("the presend server does not answer: {said}"));
    if let Some(said) = &incomplete {
        note(&format!("\x1b[1;33mwarning:\x1b[0m {said}"));
    }
    Ok(Known {
        answers: Some(answers),
        interrupted: interrupt.happened(),
        incomplete,
    })
}

/// Asks on another thread, so that a signal need not wait for a server.
fn portion(api: &Arc<Api>, addresses: &[String], interrupt: &Interrupt) -> Result<Vec<Answer>, ApiError> {
    let (api, addresses) = (Arc::clone(api), addresses.to_vec());
    let count = addresses.len();
    interrupt.runtime.block_on(async {
        let asked = tokio::task::spawn_blocking(move || api.ask(&addresses));
        tokio::select! {
            biased;
            answers = asked => answers.unwrap_or_else(|error| Err(ApiError::Unreachable(error.to_string()))),
            () = interrupt.stop.requested() => Ok(vec![Answer::interrupted(); count]),
        }
    })
}
