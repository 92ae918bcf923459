//! The lab's DNS, asked by hickory-resolver.

use std::time::Duration;

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::RecordType,
};
use presend::lab::Lab;

use super::client::start;

pub(super) fn resolver(lab: &Lab) -> TokioResolver {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    (udp.port, tcp.port) = (lab.dns().port(), lab.dns().port());
    let server = NameServerConfig::new(lab.dns().ip(), true, vec![udp, tcp]);
    let mut builder = TokioResolver::builder_with_config(
        ResolverConfig::from_name_servers(vec![server]),
        TokioRuntimeProvider::default(),
    );
    builder.options_mut().timeout = Duration::from_millis(200);
    builder.options_mut().attempts = 1;
    builder.build().unwrap()
}

/// The answer as text, or the kind of failure.
pub(super) async fn ask(resolver: &TokioResolver, name: &str, kind: RecordType) -> String {
    match resolver.lookup(format!("{name}."), kind).await {
        Ok(lookup) => {
            let mut data: Vec<_> = lookup.answers().iter().map(|record| record.data.to_string()).collect();
            data.sort();
            data.join(", ")
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            format!("{} soa={}", none.response_code, none.soa.is_some())
        }
        Err(NetError::Dns(DnsError::ResponseCode(code))) => code.to_string(),
        Err(NetError::Timeout) => "timeout".into(),
        Err(other) => format!("{other:?}"),
    }
}

#[tokio::test]
async fn the_dns_tells_no_from_cannot_say() {
    let lab = start(
        r#"
        [[host]]
        name = "mx1.acme.test"
        ip = "127.77.0.9"
        serves = ["acme.test", "bücher.test"]
        [[domain]]
        name = "null.test"
        mx = "0 ."
        [[domain]]
        name = "implicit.test"
        a = ["mx1.acme.test", "10.0.0.1", "::1"]
        [[domain]]
        name = "odd.test"
        mx = ["localhost", "20 192.0.2.1", "5 mx1.acme.test"]
        txt = "v=spf1 -all"
        [[domain]]
        name = "empty.test"
        [[domain]]
        name = "alias.test"
        cname = "odd.test"
        [[domain]]
        name = "round.test"
        cname = "and.test"
        [[domain]]
        name = "and.test"
        cname = "round.test"
        [[domain]]
        name = "wild.test"
        wildcard = true
        mx = "10 mx1.acme.test"
        [[domain]]
        name = "9.2.0.192.in-addr.arpa"
        ptr = "mx1.acme.test"
        [[domain]]
        name = "sick.test"
        fail = "servfail"
        [[domain]]
        name = "shut.test"
        fail = "refused"
        [[domain]]
        name = "mute.test"
        fail = "timeout"
        [[domain]]
        name = "gone.test"
        fail = "nxdomain"
        [[domain]]
        name = "shaky.test"
        mx = "10 mx1.acme.test"
        fail = "servfail"
        fail_times = 1
        "#,
    )
    .await;
    let resolver = resolver(&lab);
    for (name, kind, expected) in [
        ("acme.test", RecordType::MX, "10 mx1.acme.test."),
        ("xn--bcher-kva.test", RecordType::MX, "10 mx1.acme.test."),
        ("acme.test", RecordType::A, "No Error soa=true"),
        ("mx1.acme.test", RecordType::A, "127.77.0.9"),
        ("null.test", RecordType::MX, "0 ."),
        ("implicit.test", RecordType::MX, "No Error soa=true"),
        ("implicit.test", RecordType::A, "10.0.0.1, 127.77.0.9"),
        ("implicit.test", RecordType::AAAA, "::1"),
        (
            "odd.test",
            RecordType::MX,
            "10 localhost., 20 192.0.2.1., 5 mx1.acme.test.",
        ),
        ("odd.test", RecordType::TXT, "v=spf1 -all"),
        ("empty.test", RecordType::MX, "No Error soa=true"),
        ("alias.test", RecordType::TXT, "odd.test., v=spf1 -all"),
        ("any.thing.wild.test", RecordType::MX, "10 mx1.acme.test."),
        ("9.2.0.192.in-addr.arpa", RecordType::PTR, "mx1.acme.test."),
        ("test", RecordType::MX, "No Error soa=true"),
        ("nowhere.test", RecordType::MX, "Non-Existent Domain soa=true"),
        ("nowhere.elsewhere", RecordType::MX, "Non-Existent Domain soa=true"),
        ("gone.test", RecordType::MX, "Non-Existent Domain soa=true"),
        ("sick.test", RecordType::MX, "Server Failure"),
        ("shut.test", RecordType::MX, "Query Refused"),
        ("mute.test", RecordType::MX, "timeout"),
        ("shaky.test", RecordType::MX, "10 mx1.acme.test."),
    ] {
        assert_eq!(ask(&resolver, name, kind).await, expected, "{kind} {name}");
    }
    let asked = lab.counters().dns;
    assert_eq!(asked["MX acme.test"], 1);
    assert_eq!(
        asked["MX shaky.test"], 2,
        "the resolver asks again after the one SERVFAIL"
    );
}
