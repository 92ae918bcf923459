//! Keys: who may come in, how often, and what others see of him.

use super::*;

#[test]
fn p12_only_keys_that_count_open_the_door() {
    let (good, record) = key("crm", "verify", None, None);
    let (other, _) = key("stranger", "verify", None, None);
    let api = Api::with_keys(Limits::default(), std::slice::from_ref(&record));
    assert_eq!(api.get_as("/v1/reasons", Some(&good)).status, 200);
    let half = format!(
        "{}_{}",
        good.rsplit_once('_').unwrap().0,
        other.rsplit_once('_').unwrap().1
    );
    for wrong in [other.as_str(), &half, "", "presend", "x y"] {
        let refused = api.get_as("/v1/reasons", Some(wrong));
        assert_eq!(refused.problem(), (401, "unauthorized".to_owned()), "{wrong}");
        assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"presend\"");
    }
    let without = api.get("/v1/reasons");
    assert_eq!(without.problem(), (401, "unauthorized".to_owned()));
    assert_eq!(api.get("/healthz").status, 200);
    assert_eq!(
        api.get_as("/metrics", Some(&good)).problem(),
        (403, "forbidden".to_owned())
    );
    // A revoked key ends at once, and the last one does not open the door for everybody.
    assert!(api.store.revoke_key(&record.id).unwrap());
    assert_eq!(
        api.get_as("/v1/reasons", Some(&good)).problem(),
        (401, "unauthorized".to_owned())
    );
    assert_eq!(api.get("/v1/reasons").problem(), (401, "unauthorized".to_owned()));
}

#[test]
fn a_key_made_while_the_server_runs_closes_the_open_door() {
    let api = Api::start(Limits::default());
    assert_eq!(api.get("/v1/reasons").status, 200);
    let (new, record) = key("crm", "verify,admin", None, None);
    api.store.add_key(record).unwrap();
    assert_eq!(api.get("/v1/reasons").problem(), (401, "unauthorized".to_owned()));
    assert_eq!(api.get_as("/v1/reasons", Some(&new)).status, 200);
    assert_eq!(api.get_as("/metrics", Some(&new)).status, 200);
}

#[test]
fn p11_tenants_do_not_see_each_other() {
    let (ours, one) = key("one", "verify", None, None);
    let (too, same) = key("one", "verify", None, None);
    let (theirs, two) = key("two", "verify", None, None);
    let api = Api::with_keys(Limits::default(), &[one, same, two]);
    let asked = json!({ "address": "someone@greylisted.test", "wait_ms": 0 });
    let pending = api.post_as("/v1/verify", &asked, Some(&ours));
    assert_eq!(pending.status, 202);
    let place = pending.header("location").to_owned();
    assert_eq!(api.get_as(&place, Some(&ours)).status, 202);
    assert_eq!(api.get_as(&place, Some(&too)).status, 202);
    assert_eq!(
        api.get_as(&place, Some(&theirs)).problem(),
        (404, "not_found".to_owned())
    );
}

#[test]
fn rates_and_quotas_are_kept_and_told() {
    let (slow, one) = key("slow", "verify", Some("2/day"), None);
    let (few, two) = key("few", "verify", None, Some("3/day"));
    let (narrow, three) = key("narrow", "verify", None, None);
    let limits = Limits {
        domain_quota: 2,
        ..Limits::default()
    };
    let api = Api::with_keys(limits, &[one, two, three]);
    let first = api.get_as("/v1/reasons", Some(&slow));
    assert_eq!(first.header("ratelimit-policy"), "\"requests\";q=2;w=86400");
    assert!(first.header("ratelimit").starts_with("\"requests\";r=1;"), "{first:?}");
    assert_eq!(api.get_as("/v1/reasons", Some(&slow)).status, 200);
    let third = api.get_as("/v1/reasons", Some(&slow));
    assert_eq!(third.problem(), (429, "rate_limited".to_owned()));
    let wait: u64 = third.header("retry-after").parse().unwrap();
    assert!((1..=43_200).contains(&wait), "{wait}");

    let batch = |addresses: &[&str]| json!({ "addresses": addresses, "level": "syntax" });
    let two_of = batch(&["a@one.test", "b@two.test"]);
    assert_eq!(api.post_as("/v1/verify/batch", &two_of, Some(&few)).status, 200);
    let refused = api.post_as("/v1/verify/batch", &two_of, Some(&few));
    assert_eq!(refused.problem(), (429, "quota_exceeded".to_owned()));
    assert_eq!(
        api.post_as("/v1/verify/batch", &batch(&["c@x.test"]), Some(&few))
            .status,
        200
    );

    let same = |name: &str| json!({ "address": format!("{name}@Target.test"), "level": "syntax" });
    assert_eq!(api.post_as("/v1/verify", &same("ann"), Some(&narrow)).status, 200);
    assert_eq!(api.post_as("/v1/verify", &same("bob"), Some(&narrow)).status, 200);
    let refused = api.post_as("/v1/verify", &same("cid"), Some(&narrow));
    assert_eq!(refused.problem(), (429, "domain_quota_exceeded".to_owned()));
    let elsewhere = json!({ "address": "cid@other.test", "level": "syntax" });
    assert_eq!(api.post_as("/v1/verify", &elsewhere, Some(&narrow)).status, 200);
}

#[test]
fn without_keys_nobody_else_is_served() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sandbox = Sandbox::start().await.unwrap();
        let store = Arc::new(SqliteStore::private().unwrap());
        let open = || async {
            let engine = Engine::start(sandbox.settings().unwrap()).await.unwrap();
            let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
            Server::new(listener, engine, Arc::clone(&store), Limits::default()).map(|_| ())
        };
        let error = open().await.unwrap_err().to_string();
        assert!(error.contains("without keys only this machine is served"), "{error}");
        let (_, record) = key("crm", "verify", None, None);
        let id = record.id.clone();
        store.add_key(record).unwrap();
        assert!(open().await.is_ok());
        store.revoke_key(&id).unwrap();
        assert!(open().await.is_err(), "a revoked key is none");
    });
}
