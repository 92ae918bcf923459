//! What an earlier run left of a group of mail hosts, a domain and a job, in a database that somebody else wrote.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use presend::{
    address::Domain,
    clock::SystemClock,
    input::Layout,
    job::{Counts, Engine, EngineSeams, Outcome, Settings, Stop},
    net::{BoxFuture, Call, Dial, DialError, Stream},
    smtp::{Identity, Timeouts},
    store::{
        Claim, DomainMemory, Entry, Excerpt, JobNumber, JobRecord, JobState, Kept, Known, Lease, NewJob, Place,
        PrivateStore, Reading, Store, StoreError, Write,
    },
    verdict::Label,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex},
    runtime::Builder,
    sync::{oneshot, watch},
    time::Instant,
};

use super::{session::OneHost, sinks};

/// Of one input: its addresses, the control recipient, each once more.
const CONNECTIONS: usize = 12;
/// Largest memory of a group that is written down: a thousand domains and a hundred hosts.
const LARGEST: usize = 160 << 10;
/// No memory keeps us from asking for longer.
const LONGEST: Duration = Duration::from_hours(31 * 24);

/// Whatever is remembered, answers come in time, are earned, and what is written down for the next run is bounded and as good.
pub(super) fn body(bytes: &[u8]) -> bool {
    let pieces = super::pieces(bytes);
    let text = |number: usize| String::from_utf8_lossy(pieces.get(number).copied().unwrap_or_default());
    let job = job(&text(2), &text(3));
    let domain = serde_json::from_str::<DomainMemory>(&text(1)).ok();
    let trusted = pieces
        .get(4)
        .and_then(|mode| mode.first())
        .is_some_and(|mode| mode & 1 != 0);
    let knows = domain.is_some();
    let kept = run((Some(text(0).into_owned()), domain), trusted);
    // The next run finds what this one wrote.
    let again = run((kept.clone(), None), trusted);
    let written = |memory: &Option<String>| memory.as_ref().is_some_and(|memory| !memory.is_empty());
    assert!(
        !written(&kept) || written(&again) || trusted,
        "{kept:?} became {again:?}"
    );
    knows || job || serde_json::from_str::<serde_json::Value>(&text(0)).is_ok()
}

/// Asks about a few addresses at a group with this memory; what is written down of it then.
fn run(memory: (Option<String>, Option<DomainMemory>), trusted: bool) -> Option<String> {
    let store = Arc::new(Remembering::new(memory));
    let host = Host::default();
    let dialled = Arc::clone(&host.dialled);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (outcomes, took) = runtime.block_on(ask(host, Arc::clone(&store), trusted));
    drop(runtime);
    let dialled = dialled.load(Ordering::Relaxed);
    assert!(dialled <= CONNECTIONS, "{dialled} connections");
    assert!(took <= Timeouts::INTERACTIVE.session * 4, "{took:?}");
    for outcome in &outcomes {
        let asked = dialled > 0;
        match outcome.verdict.label {
            Label::Valid => assert!(asked && outcome.typed.starts_with('a'), "{}", outcome.typed),
            Label::Invalid => assert!(asked && !outcome.typed.starts_with('a'), "{}", outcome.typed),
            // A domain that takes everybody need not be asked again.
            Label::CatchAll | Label::Unknown => {}
        }
        let latest = SystemTime::now() + LONGEST;
        assert!(outcome.retry_at.is_none_or(|at| at <= latest), "{:?}", outcome.retry_at);
    }
    if let Some(outcome) = outcomes.first() {
        sinks::shown(outcome);
    }
    let written = lock(&store.written).clone();
    assert!(written.as_ref().is_none_or(|memory| memory.len() <= LARGEST));
    written
}

async fn ask(host: Host, store: Arc<Remembering>, trusted: bool) -> (Vec<Outcome>, Duration) {
    let identity = Identity::new("probe.example.org", "check@example.org").expect("an identity");
    let settings = Settings {
        trusted: if trusted { vec!["test".into()] } else { Vec::new() },
        ..Settings::for_lab(identity, Vec::new(), 25)
    };
    let seams = EngineSeams {
        route: Arc::new(OneHost),
        dial: Arc::new(host),
        clock: Arc::new(SystemClock),
    };
    let engine = Engine::with_seams(settings, seams).expect("settings").with_store(store);
    let started = Instant::now();
    let asked = ["ann@one.test", "dan@one.test", "eve@one.test", "abe@one.test"].map(str::to_owned);
    let outcomes = engine.check(&asked, &Stop::new()).await.expect("memory");
    (outcomes, started.elapsed())
}

/// Counts and layout of a job; whether one of them can be read.
fn job(summary: &str, layout: &str) -> bool {
    let job = |state| JobRecord {
        number: 1,
        id: "k7mqab2x".to_owned(),
        state,
        created_at: SystemTime::UNIX_EPOCH,
        updated_at: SystemTime::UNIX_EPOCH,
        source: "list.csv".to_owned(),
        settings: "{}".to_owned(),
        layout: layout.to_owned(),
        rows: 7,
        summary: summary.to_owned(),
        process: None,
        taken: false,
    };
    let mut counted = false;
    for state in [JobState::Open, JobState::Done] {
        let counts = Counts::of(&job(state));
        counted |= counts.answered.is_some();
        let _ = counts.bounce_rates();
        let shown = serde_json::Value::Object(counts.to_json()).to_string();
        assert!(shown.len() <= 2_000 + 8 * summary.len(), "{} bytes", shown.len());
    }
    let layout = serde_json::from_str::<Layout>(layout);
    if let Ok(layout) = &layout {
        sinks::laid_out(layout);
    }
    counted || layout.is_ok()
}

/// Knows whoever begins with `a`.
#[derive(Default)]
struct Host {
    dialled: Arc<AtomicUsize>,
}

impl Dial for Host {
    fn dial<'a>(&'a self, _call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = duplex(16 * 1024);
        tokio::spawn(speak(theirs));
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

async fn speak(stream: DuplexStream) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mx.one.test\r\n").await.ok()?;
    let mut line = String::new();
    while stream.read_line(&mut line).await.ok()? > 0 {
        let said: &[u8] = match line.split(':').nth(1).filter(|_| line.starts_with("RCPT")) {
            Some(to) if to.starts_with("<ann@") || to.starts_with("<abe@") => b"250 2.1.5 Ok\r\n",
            Some(_) => b"550 5.1.1 No such user\r\n",
            None if line.starts_with("EHLO") => b"250-mx.one.test\r\n250 PIPELINING\r\n",
            None if line.starts_with("QUIT") => b"221 Bye\r\n",
            None => b"250 Ok\r\n",
        };
        stream.write_all(said).await.ok()?;
        line.clear();
    }
    Some(())
}

/// A store of this run alone, but for what it says of groups and domains.
struct Remembering {
    inner: PrivateStore,
    group: Mutex<Option<String>>,
    domain: Option<DomainMemory>,
    written: Mutex<Option<String>>,
}

impl Remembering {
    fn new((group, domain): (Option<String>, Option<DomainMemory>)) -> Self {
        Self {
            inner: PrivateStore::default(),
            group: Mutex::new(group.filter(|memory| !memory.is_empty())),
            domain,
            written: Mutex::default(),
        }
    }
}

type Stored<T> = Result<T, StoreError>;

impl Store for Remembering {
    fn claim(&self, _group: &Arc<str>) -> oneshot::Receiver<Result<Claim, Arc<StoreError>>> {
        let (reply, answer) = oneshot::channel();
        let memory = lock(&self.group).take();
        let _ = reply.send(Ok(Claim::Ours(memory.map(|memory| (memory, SystemTime::now())))));
        answer
    }

    fn domain(&self, job: Option<JobNumber>, name: &Domain) -> Stored<Option<(DomainMemory, SystemTime)>> {
        match &self.domain {
            Some(memory) => Ok(Some((memory.clone(), SystemTime::now()))),
            None => self.inner.domain(job, name),
        }
    }

    fn submit(&self, write: Write) {
        if let Write::Group { memory, .. } = &write {
            *lock(&self.written) = Some(memory.clone());
        }
        self.inner.submit(write);
    }

    fn create(&self, job: &NewJob) -> Stored<Lease> {
        self.inner.create(job)
    }

    fn take(&self, job: JobNumber) -> Stored<Lease> {
        self.inner.take(job)
    }

    fn jobs(&self) -> Stored<Vec<JobRecord>> {
        self.inner.jobs()
    }

    fn imported(&self, lease: &Lease, rows: u64, digest: &[u8]) -> Stored<Option<JobRecord>> {
        self.inner.imported(lease, rows, digest)
    }

    fn discard(&self, lease: &Lease) -> Stored<()> {
        self.inner.discard(lease)
    }

    fn delete(&self, job: JobNumber) -> Stored<()> {
        self.inner.delete(job)
    }

    fn forget(&self, before: SystemTime) -> Stored<u64> {
        self.inner.forget(before)
    }

    fn chunk(&self, job: JobNumber, number: u32) -> Stored<Option<Vec<u8>>> {
        self.inner.chunk(job, number)
    }

    fn entries(&self, job: JobNumber) -> Stored<Vec<Entry>> {
        self.inner.entries(job)
    }

    fn record(&self, job: JobNumber, place: Place, reading: Reading<'_>) -> Stored<Kept> {
        self.inner.record(job, place, reading)
    }

    fn excerpt(&self, job: JobNumber, places: &[Place], most: usize) -> Stored<Option<Excerpt>> {
        self.inner.excerpt(job, places, most)
    }

    fn history(&self, mailbox: &str, reading: Reading<'_>) -> Stored<Vec<(JobNumber, Entry, Kept)>> {
        self.inner.history(mailbox, reading)
    }

    fn known(&self, domain: i64) -> Stored<Vec<Known>> {
        self.inner.known(domain)
    }

    fn knows_anything(&self) -> Stored<bool> {
        Ok(self.domain.is_some())
    }

    fn flush(&self) -> oneshot::Receiver<Result<(), Arc<StoreError>>> {
        self.inner.flush()
    }

    fn failure(&self) -> watch::Receiver<Option<Arc<StoreError>>> {
        self.inner.failure()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
