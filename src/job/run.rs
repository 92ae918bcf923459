//! A job from its rows to its last answer: imported or taken up again, asked about, kept, written out.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    Engine, Level, Progress, Sink, Stop, Summary, VerifyError, View, Waiting,
    answers::{Answers, nothing_learned, record},
    list::{List, NOBODY},
    open::{Open, Portions},
    progress::Later,
    resolve::{Probing, ROUTES, Settled, Start},
    rows::{Cursor, Import, flushed},
    writing::Writer,
};
use crate::{
    address::Domain,
    dns::Route,
    input::{Row, Table},
    schedule::Standing,
    smtp::Tally,
    store::{Entry, JobRecord, JobState, Lease, Ledger, Record, Store, StoreError, Write},
    verdict::NotTried,
};

/// Batches of records on their way to the file before the run takes no more: bounds the memory.
const AHEAD: usize = 8;
/// Records of one batch at most: whoever reads one of them reads the batch.
const BATCH: usize = 1024;
/// Rows whose addresses are joined to the list at once; each may take a megabyte.
const TOGETHER: usize = 16;
/// Routes looked up while the list is read, as many as the router has room for until they are wanted.
const ROUTES_AHEAD: usize = 49_152;
/// How often the job's counts are written down.
const NOTE: Duration = Duration::from_secs(2);

/// Runs a table as a job.
pub(super) async fn table(
    engine: &Engine,
    mut table: Table,
    sink: &mut dyn Sink,
    progress: &Progress,
    stop: &Stop,
) -> Result<Summary, VerifyError> {
    let store = engine.store();
    forget_cut_off(&*store).map_err(Arc::new)?;
    let lease = store.create(&engine.description(&table)).map_err(Arc::new)?;
    let ahead = Ahead::new(engine, &*store, stop);
    let imported = import(engine, &mut table, (&*store, &lease), progress, ahead).await;
    drop(table);
    let list = match imported {
        Ok((list, None)) => list,
        Ok((list, Some(open))) => {
            // The same rows, the same settings, and not at its end: go on there.
            store.discard(&lease).map_err(Arc::new)?;
            let lease = store.take(open.number).map_err(Arc::new)?;
            return run(engine, (store, lease), list, sink, (progress, stop)).await;
        }
        Err(error) => {
            // Nobody was asked; the error that ends the run says more than one of the clearing up.
            let _ = store.discard(&lease);
            return Err(error);
        }
    };
    run(engine, (store, lease), list, sink, (progress, stop)).await
}

/// Removes what runs left that were killed while they read their lists, or deleted them: nobody can go on with that.
fn forget_cut_off(store: &dyn Store) -> Result<(), StoreError> {
    for job in store.jobs()? {
        let half_deleted = job.state == JobState::Cancelled && job.rows == 0 && job.layout == "{}";
        let removed = match job.state {
            _ if job.taken => continue,
            JobState::Importing => store.abandon(job.number),
            JobState::Cancelled if half_deleted => store.delete(job.number),
            JobState::Cancelled | JobState::Open | JobState::Done => continue,
        };
        match removed {
            // Another process was faster.
            Ok(()) | Err(StoreError::NoSuchJob | StoreError::Busy { .. } | StoreError::Locked { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Goes on with a job.
pub(super) async fn resume(
    engine: &Engine,
    job: &JobRecord,
    sink: &mut dyn Sink,
    progress: &Progress,
    stop: &Stop,
) -> Result<Summary, VerifyError> {
    let store = engine.store();
    let lease = store.take(job.number).map_err(Arc::new)?;
    let list = read_back(engine, &store, &lease, progress)?;
    run(engine, (store, lease), list, sink, (progress, stop)).await
}

/// Reads the whole table into the store; no mail host is asked yet. If an open job has the same rows, it is returned as well.
async fn import(
    engine: &Engine,
    table: &mut Table,
    (store, lease): (&dyn Store, &Lease),
    progress: &Progress,
    mut ahead: Ahead,
) -> Result<(List, Option<JobRecord>), VerifyError> {
    let (mut list, mut import) = (List::default(), Import::new(store, lease));
    let mut rows = vec![Row::default(); TOGETHER];
    loop {
        let mut count = 0;
        for row in &mut rows {
            if !table.read_row(row)? {
                break;
            }
            count += 1;
            progress.row_read();
            import.add(row).await?;
        }
        for domain in list.add_all(engine, rows.get(..count).unwrap_or_default())? {
            ahead.add(domain);
        }
        ahead.look_up();
        if count < TOGETHER {
            break;
        }
    }
    ahead.lookups.detach_all();
    let (rows, digest) = import.finish();
    let open = store.imported(lease, rows, &digest).map_err(Arc::new)?;
    progress.input_ended();
    list.close();
    Ok((list, open))
}

/// Routes that are looked up while the list is still read, on the other cores; the router keeps them until they are wanted.
struct Ahead {
    /// `None` where what is kept may answer for a domain, so that nobody needs its route.
    router: Option<Arc<dyn Route>>,
    /// Domains that wait until others are looked up.
    waiting: VecDeque<Domain>,
    /// Domains that may still be added.
    left: usize,
    lookups: JoinSet<()>,
    stop: Stop,
}

impl Ahead {
    fn new(engine: &Engine, store: &dyn Store, stop: &Stop) -> Self {
        // Where it cannot be read the run ends soon.
        let known = store.outlives_the_run() && store.knows_anything().unwrap_or(true);
        let wanted = !known && !engine.settings.memory.offline;
        Self {
            router: engine.route.clone().filter(|_| wanted),
            waiting: VecDeque::new(),
            left: ROUTES_AHEAD,
            lookups: JoinSet::new(),
            stop: stop.clone(),
        }
    }

    fn add(&mut self, domain: Domain) {
        if self.router.is_some() && self.left > 0 {
            self.left -= 1;
            self.waiting.push_back(domain);
        }
    }

    /// Goes on with those that wait; the first rows of a list may bring all its domains.
    fn look_up(&mut self) {
        while self.lookups.try_join_next().is_some() {}
        if self.stop.is_requested() {
            self.waiting.clear();
        }
        while self.lookups.len() < ROUTES
            && let Some(router) = &self.router
            && let Some(domain) = self.waiting.pop_front()
        {
            let router = Arc::clone(router);
            self.lookups.spawn(async move { drop(router.route(&domain).await) });
        }
    }
}

/// The list of a job, from its rows in the store.
pub(super) fn read_back(
    engine: &Engine,
    store: &Arc<dyn Store>,
    lease: &Lease,
    progress: &Progress,
) -> Result<List, VerifyError> {
    let (mut list, mut row) = (List::default(), Row::default());
    let mut rows = Cursor::new(Arc::clone(store), lease.job);
    while rows.read(&mut row)? {
        if rows.blocks() as usize > list.firsts.len() {
            list.firsts.push(list.rows.len());
        }
        progress.row_read();
        if engine.settings.level == Level::Syntax {
            // Nobody is asked about any of them.
            list.rows.push(NOBODY);
        } else {
            list.add(engine, &row)?;
        }
    }
    progress.input_ended();
    list.close();
    Ok(list)
}

/// What earlier runs of the job found out.
pub(super) fn restored(ledger: &Ledger, addresses: usize) -> Result<Answers, VerifyError> {
    let mut answers = Answers::new(addresses);
    let entries = ledger.store().entries(ledger.job()).map_err(Arc::new)?;
    for entry in &entries {
        answers.restore(entry);
    }
    Ok(answers)
}

/// Records on their way into the file, and their way back.
struct Keeping<'a> {
    ledger: &'a Ledger,
    list: &'a List,
    progress: &'a Progress,
    kept: mpsc::UnboundedSender<InFile>,
    /// Batches not in the file yet.
    under_way: usize,
    /// When what the run leaves may be asked.
    later: Later,
    /// What ended the run before its end, other than its caller.
    over: Option<NotTried>,
    /// The store outlives the run.
    lasts: bool,
}

/// A batch is in the file, or is not.
type InFile = (Result<Vec<Entry>, Arc<StoreError>>, Vec<Standing>);

impl Keeping<'_> {
    fn keep(&mut self, settled: Vec<Settled>) {
        let most = settled.len().min(BATCH);
        let (mut standings, mut records) = (Vec::with_capacity(most), Vec::with_capacity(most));
        if self.lasts {
            let not_at_hand = settled.iter().filter(|settled| settled.address.is_none());
            self.list.addresses.expect(not_at_hand.map(|settled| settled.id));
        }
        for mut settled in settled {
            if records.len() == BATCH {
                self.submit(std::mem::take(&mut records), std::mem::take(&mut standings));
            }
            if settled.standing != Standing::Attempt {
                self.progress
                    .settled(settled.verdict.label, self.list.copies(settled.id));
            }
            if settled.standing == Standing::Provisional {
                self.later.add(settled.retry_at);
            }
            if let Some(why) = nothing_learned(&settled) {
                self.over = self.over.or(Some(why).filter(|why| *why != NotTried::Interrupted));
                // An earlier attempt may be on its way into the file: it is shown, once all is there.
                continue;
            }
            standings.push(settled.standing);
            let found_by = if self.lasts {
                let at_hand = settled.address.take();
                let Some(address) = at_hand.or_else(|| self.list.addresses.get(settled.id)) else {
                    continue;
                };
                Some((address.to_mailbox(), self.ledger.key(&address)))
            } else {
                None
            };
            records.push(record(settled, found_by));
        }
        if !records.is_empty() {
            self.submit(records, standings);
        }
    }

    fn submit(&mut self, records: Vec<Record>, standings: Vec<Standing>) {
        self.under_way += 1;
        let kept = self.kept.clone();
        self.ledger.store().submit(Write::Records {
            lease: self.ledger.lease().clone(),
            records,
            // The run is gone when nobody listens.
            done: Box::new(move |result| drop(kept.send((result, standings)))),
        });
    }

    fn returned(&mut self, (entries, standings): InFile, answers: &mut Answers) -> Result<(), VerifyError> {
        self.under_way -= 1;
        for (entry, standing) in entries?.iter().zip(standings) {
            answers.kept(entry, standing);
        }
        Ok(())
    }
}

async fn run(
    engine: &Engine,
    (store, lease): (Arc<dyn Store>, Lease),
    mut list: List,
    sink: &mut dyn Sink,
    (progress, stop): (&Progress, &Stop),
) -> Result<Summary, VerifyError> {
    let ledger = engine.ledger(&store, lease)?;
    let mut answers = restored(&ledger, list.addresses.len())?;
    answers.tell(&mut list);
    progress.rows_need_nobody(list.unasked());
    for id in (0..).take(list.addresses.len()) {
        if answers.is_settled(id) {
            progress.restored(list.copies(id));
        }
    }
    let view = Arc::new(View::new(ledger.job(), &mut list, answers));
    progress.shows(&view);
    let mut domains = list.take_domains();
    ledger.in_order_of_evidence(&mut domains).map_err(Arc::new)?;
    let tally = Arc::new(Tally::default());
    let (sender, mut kept) = mpsc::unbounded_channel();
    let mut keeping = Keeping {
        ledger: &ledger,
        list: &list,
        progress,
        kept: sender,
        under_way: 0,
        later: Later::default(),
        over: None,
        lasts: store.outlives_the_run(),
    };
    let mut open = opened(engine, domains, &view, (&mut keeping, &mut kept)).await?;
    let asked = open.take_asked();
    keeping.keep(open.known);
    keeping.later.join(open.later);
    for id in open.left {
        view.change().leave(id);
        progress.restored(list.copies(id));
    }
    let start = Start {
        domains: asked,
        addresses: Arc::clone(&list.addresses),
        tally: Arc::clone(&tally),
        stop,
        ledger: Some(&ledger),
        histories: open.histories,
        hurried: false,
    };
    let mut probing = Probing::start(engine, start);
    let mut writer = Writer::new(engine, &ledger, sink);
    let mut failure = store.failure();
    let mut note = interval(NOTE);
    note.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = true;
    while asking || keeping.under_way > 0 {
        tokio::select! {
            settled = probing.next(progress), if asking && keeping.under_way < AHEAD => match settled {
                Some(settled) => keeping.keep(settled),
                None => asking = false,
            },
            Some(in_file) = kept.recv() => keeping.returned(in_file, &mut view.change())?,
            error = failed(&mut failure) => return Err(error.into()),
            _ = note.tick() => {
                writer.summary.waiting = progress.waiting();
                note_down(&ledger, &writer.summary, JobState::Open, false);
            }
        }
        // Most rows of a long list are written when all are answered, and there is room for them once what asked is gone.
        while asking && advance(&mut writer, &view, progress)? {
            tokio::task::yield_now().await;
        }
    }
    leave_open(&view, &mut keeping, list.addresses.len());
    let retry_at = keeping.later.time();
    drop(probing);
    let (unique, duplicates) = (list.addresses.len() as u64, list.duplicates());
    drop(list);
    while advance(&mut writer, &view, progress)? {
        tokio::task::yield_now().await;
    }
    let mut summary = writer.summary;
    (summary.unique, summary.duplicates) = (unique, duplicates);
    summary.waiting = Waiting::default();
    summary.retry_at = retry_at;
    summary.cost(&tally);
    summary.complete = view.answers().is_complete();
    // Nobody can go on with a job that ends with the process.
    summary.job = engine.store.as_ref().map(|_| ledger.lease().id.clone());
    let state = if summary.complete {
        JobState::Done
    } else {
        JobState::Open
    };
    note_down(&ledger, &summary, state, true);
    flushed(&*store).await?;
    Ok(summary)
}

/// What is to be asked about; most of what is known is on its way into the file.
async fn opened(
    engine: &Engine,
    domains: Vec<(Domain, Vec<u32>)>,
    view: &View,
    (keeping, kept): (&mut Keeping<'_>, &mut mpsc::UnboundedReceiver<InFile>),
) -> Result<Open, VerifyError> {
    let mut open = Open::default();
    for together in Portions::new(domains) {
        open.add_all(engine, keeping.ledger, (keeping.list, &*view.answers()), together)?;
        if open.known.len() >= BATCH {
            keeping.keep(std::mem::take(&mut open.known));
            while keeping.under_way >= AHEAD
                && let Some(in_file) = kept.recv().await
            {
                keeping.returned(in_file, &mut view.change())?;
            }
        }
    }
    Ok(open)
}

/// Writes what is known, and says how much of it is final.
fn advance(writer: &mut Writer<'_>, view: &View, progress: &Progress) -> Result<bool, VerifyError> {
    let more = writer.advance(view.ids(), &view.answers())?;
    progress.is_final(|before| view.first_open(before));
    Ok(more)
}

/// The run is over: what is not known is shown as it is.
fn leave_open(view: &View, keeping: &mut Keeping<'_>, addresses: usize) {
    let mut answers = view.change();
    for id in (0..).take(addresses) {
        if !answers.is_known(id) {
            answers.leave(id);
            keeping.later.add(None);
        }
    }
    answers.ended(keeping.over.unwrap_or(NotTried::Interrupted));
}

/// The first failure of the store; never ends while there is none.
async fn failed(failure: &mut watch::Receiver<Option<Arc<StoreError>>>) -> Arc<StoreError> {
    let ended = || Arc::new(StoreError::Ended);
    match failure.wait_for(Option::is_some).await {
        Ok(error) => error.clone().unwrap_or_else(ended),
        Err(_) => ended(),
    }
}

fn note_down(ledger: &Ledger, summary: &Summary, state: JobState, released: bool) {
    ledger.store().submit(Write::Job {
        lease: ledger.lease().clone(),
        summary: summary.to_json(),
        state,
        released,
    });
}

/// Keeps the answers of a run over a few addresses, which ends with that.
pub(super) fn keep_few(ledger: &Ledger, list: &List, settled: Vec<Settled>) {
    let (kept, _) = mpsc::unbounded_channel();
    let mut keeping = Keeping {
        ledger,
        list,
        progress: &Progress::default(),
        kept,
        under_way: 0,
        later: Later::default(),
        over: None,
        lasts: ledger.store().outlives_the_run(),
    };
    keeping.keep(settled);
    note_down(ledger, &Summary::default(), JobState::Done, true);
}
