//! What a run may cost, on the measured list in small: connections, commands and DNS questions per address, and no label wrong.

#[path = "../../benches/throughput/world.rs"]
mod world;

use std::{collections::BTreeSet, fs, time::Duration};

use presend::{
    input::{InputOptions, Table},
    job::{Engine, Progress, Settings, Stop},
    lab::Lab,
    output::{Format, Options, Output, Target, Terminal},
    smtp::{Identity, Timeouts},
};
use world::{Size, TRUSTED};

use crate::watch::{Watched, below_test};

const SIZE: Size = Size {
    addresses: 1000,
    domains: 50,
    hosts: 25,
};

fn settings(lab: &Lab) -> Settings {
    let identity = Identity::new("probe.bench.test", "check@bench.test").unwrap();
    Settings {
        trusted: vec![TRUSTED.to_owned()],
        timeouts: Timeouts::BULK,
        max_wait: Duration::MAX,
        ..Settings::for_lab(identity, vec![lab.dns()], lab.smtp_port())
    }
}

#[tokio::test]
async fn a_list_costs_a_connection_a_host_and_little_more_than_a_command_an_address() {
    for (pipelining, name) in [(true, "pipelined"), (false, "lockstep")] {
        let lab = Watched::start(SIZE.world(0, pipelining), below_test).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (input, results) = (folder.path().join("list.csv"), folder.path().join("results.csv"));
        let list = SIZE.list();
        fs::write(&input, world::csv(&list)).unwrap();

        let table = Table::open(&input, &InputOptions::default()).unwrap();
        let options = Options {
            format: Format::Csv,
            only: Vec::new(),
            raw: false,
            detail: presend::output::Detail::default(),
            terminal: Terminal::default(),
        };
        let mut output = Output::single(table.layout(), &options, Target::file(&results).unwrap());
        let engine = Engine::start(settings(&lab)).await.unwrap();
        engine
            .verify(table, &mut output, &Progress::default(), Stop::new())
            .await
            .unwrap();
        output.finish().unwrap();

        let wrong = world::wrong(&list, &fs::read_to_string(&results).unwrap());
        assert_eq!(wrong, 0, "{name}: wrong labels");
        let counters = lab.counters();
        let hosts: BTreeSet<usize> = list.iter().map(|entry| entry.host).collect();
        assert_eq!(counters.sum(|host| host.connections), hosts.len() as u64, "{name}");
        let commands: u64 = counters.verbs().values().sum();
        assert!(commands <= 1170, "{name}: {commands} commands, {:?}", counters.verbs());
        // MX for each domain, A and AAAA for each host, and the canary's few.
        let questions: u64 = counters.dns.values().sum();
        assert!(questions <= 50 + 2 * 25 + 6, "{name}: {questions} questions");
        assert_eq!(counters.sum(|host| host.without_quit), 0, "{name}");
    }
}
