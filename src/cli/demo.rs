//! `presend demo`: the main job on a sample list in a miniature internet; no port 25, no configuration.

use std::{fs, io::Write, path::PathBuf, time::Duration};

use super::{
    Exit,
    args::{DemoArgs, When},
    fault::note,
    paint::{BOLD, paint, stdout_terminal},
    progress::Display,
    signal::Signals,
    summary,
    verify::{self, Job, JobWork},
};
use crate::{
    input::{InputOptions, Table},
    job::Settings,
    lab::{self, Lab},
    output::{Detail, Format, Options, Output},
    schedule::Limits,
    smtp::{Identity, Timeouts},
    suppress::Mailing,
};

const TRY_NEXT: &str = "\
try next
  presend check jane.doe@example.com                 one address, explained
  presend verify leads.csv --level dns               a list of yours, without asking mail hosts
  presend verify leads.csv --helo-name NAME --mail-from ADDRESS   and with
  presend reasons                                    what every reason means";

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let list = SampleList::write()?;
    let table = Table::open(&list.0, &InputOptions::default())?;
    let options = Options {
        format: if args.json { Format::Json } else { Format::Table },
        only: Vec::new(),
        raw: false,
        detail: Detail::default(),
        terminal: stdout_terminal(),
    };
    let display = Display::new(When::Auto, args.quiet, true);
    let output = Output::single(table.layout(), &options, display.stdout());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (summary, _) = runtime.block_on(async {
        let lab = Lab::start(lab::demo_world()).await?;
        let job = Job {
            settings: settings(&lab)?,
            store: None,
            mailing: Mailing::default(),
            work: JobWork::List(Box::new(table)),
            output,
            display,
            signals: Signals::listen(),
            until: None,
        };
        job.run().await
    })?;
    runtime.shutdown_background();
    if !args.quiet {
        let run = summary::Run {
            verbose: true,
            next: None,
        };
        note(&summary::text(&summary, &run));
        note(&format!(
            "\n{}",
            TRY_NEXT.replacen("try next", &paint(BOLD, "try next"), 1)
        ));
    }
    // The world is made to show faults; that some rows stay unknown is its point.
    Ok(if summary.interrupted {
        verify::exit(&summary)
    } else {
        Exit::Done
    })
}

fn settings(lab: &Lab) -> anyhow::Result<Settings> {
    Ok(Settings {
        // Every host is ours, so the demo need not be polite for an hour.
        trusted: vec!["example".into()],
        limits: Limits {
            gap: Duration::from_millis(20),
            reconnect: Duration::ZERO,
            refusals_per_minute: 100,
            ..Limits::POLITE
        },
        // Long enough for a busy machine, short enough for somebody who watches.
        timeouts: Timeouts {
            connect: Duration::from_millis(1500),
            reply: Duration::from_millis(1500),
            session: Duration::from_secs(4),
        },
        retry_ladder: vec![Duration::from_millis(1200)].into(),
        max_wait: Duration::from_secs(3),
        ..Settings::for_lab(
            Identity::new("probe.presend.example", "postmaster@presend.example")?,
            vec![lab.dns()],
            lab.smtp_port(),
        )
    })
}

/// The sample list as a file, as the input module reads files; removed when the demo ends.
struct SampleList(PathBuf);

impl SampleList {
    fn write() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("presend-demo-{}.csv", std::process::id()));
        // `create_new`: never through a link that somebody put there.
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
        let list = Self(path);
        file.write_all(lab::demo_list().as_bytes())?;
        Ok(list)
    }
}

impl Drop for SampleList {
    fn drop(&mut self) {
        // The system cleans its temporary folder if this fails.
        let _ = fs::remove_file(&self.0);
    }
}
