//! Who may have a connection open: as many as there are sockets, hosts that answer before hosts of which nothing is known, and
//! those before hosts that were silent.
//!
//! Silence costs its share and no more: hosts that have not answered hold at most three quarters of the places, and one that
//! says nothing while others wait gives its place up once and stands at the end of the line.

use std::{
    collections::BinaryHeap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, oneshot};

/// Connections at once. A session takes about 15 KiB, so all of them stay under 256 MiB.
const MOST: usize = 16_384;
/// How long a new host may say nothing while others wait. postscreen greets after 6 s: it gets its time in the second round.
const TRIAL: Duration = Duration::from_secs(2);

/// What is known of a group's readiness to talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It answered when it was last asked, or is our own.
    Shown,
    /// Nobody asked yet.
    Unknown,
    /// It was silent when it was last asked.
    Silent,
}

/// The places of a run.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Line>);

#[derive(Debug)]
struct Line {
    state: Mutex<State>,
    /// Somebody stands in the line, for whom a silent newcomer should make room.
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Places held by groups without a sign of life, and how many may be.
    unproven: usize,
    most_unproven: usize,
    /// Places whose holders make room at this moment.
    leaving: usize,
    /// Those that wait, by [`Life`].
    lines: [BinaryHeap<Waiting>; 3],
    arrivals: u64,
}

/// Larger groups first, then first come, first served.
#[derive(Debug)]
struct Waiting {
    size: usize,
    arrival: u64,
    turn: oneshot::Sender<Place>,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.size, other.arrival).cmp(&(other.size, self.arrival))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

/// The right to have one connection open; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    line: Arc<Line>,
    life: Life,
    /// The host showed that it is alive.
    heard: AtomicBool,
    leaving: AtomicBool,
    given_back: bool,
}

impl Places {
    /// As many as there are sockets, within reason.
    pub(super) fn new(sockets: usize) -> Self {
        let free = sockets.clamp(1, MOST);
        let state = State {
            free,
            unproven: 0,
            leaving: 0,
            most_unproven: (free - free / 4).max(1),
            lines: Default::default(),
            arrivals: 0,
        };
        Self(Arc::new(Line {
            state: Mutex::new(state),
            wanted: Notify::new(),
        }))
    }

    /// Waits for a place; `size` is how much the group has to ask.
    pub(super) async fn take(&self, life: Life, size: usize) -> Option<Place> {
        let (turn, mut place) = oneshot::channel();
        {
            let mut state = self.0.state();
            let arrival = state.arrivals;
            state.arrivals += 1;
            state.line(life).push(Waiting { size, arrival, turn });
        }
        self.0.serve();
        if let Ok(place) = place.try_recv() {
            return Some(place);
        }
        if life != Life::Silent {
            self.0.wanted.notify_one();
        }
        place.await.ok()
    }
}

impl State {
    fn line(&mut self, life: Life) -> &mut BinaryHeap<Waiting> {
        let [shown, unknown, silent] = &mut self.lines;
        match life {
            Life::Shown => shown,
            Life::Unknown => unknown,
            Life::Silent => silent,
        }
    }

    /// Whose turn it is, if there is a place for him.
    fn next(&mut self) -> Option<(Life, Waiting)> {
        if self.free == 0 {
            return None;
        }
        let may_try = self.unproven < self.most_unproven;
        [(Life::Shown, true), (Life::Unknown, may_try), (Life::Silent, may_try)]
            .into_iter()
            .filter(|(_, may)| *may)
            .find_map(|(life, _)| Some((life, self.line(life).pop()?)))
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what is free.
    fn serve(self: &Arc<Self>) {
        loop {
            let (life, waiting) = {
                let mut state = self.state();
                let Some(next) = state.next() else { return };
                state.free -= 1;
                state.unproven += usize::from(next.0 != Life::Shown);
                next
            };
            let place = Place {
                line: Arc::clone(self),
                life,
                heard: AtomicBool::new(life == Life::Shown),
                leaving: AtomicBool::new(false),
                given_back: false,
            };
            // Who no longer waits gives it back.
            if let Err(mut place) = waiting.turn.send(place) {
                place.give_back();
            }
        }
    }
}

impl Place {
    /// The host said something: it no longer counts as silent.
    pub(super) fn heard(&self) {
        if !self.heard.swap(true, Ordering::Relaxed) {
            self.line.state().unproven -= 1;
            self.line.serve();
        }
    }

    /// Ends when a new host that has said nothing for a while should make room for others.
    pub(super) async fn wanted(&self) {
        if self.life == Life::Unknown {
            tokio::time::sleep(TRIAL).await;
            while !self.heard.load(Ordering::Relaxed) {
                if self.leaves() {
                    return;
                }
                self.line.wanted.notified().await;
            }
            // It talks, so somebody else makes room.
            self.line.wanted.notify_one();
        }
        std::future::pending::<()>().await;
    }

    /// Makes room, if more are waiting than others make room for.
    fn leaves(&self) -> bool {
        let mut state = self.line.state();
        let [shown, unknown, _] = &state.lines;
        let leaves = shown.len() + unknown.len() > state.leaving;
        if leaves {
            state.leaving += 1;
            self.leaving.store(true, Ordering::Relaxed);
        }
        leaves
    }

    /// True the first time.
    fn give_back(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.given_back, true);
        if first {
            let mut state = self.line.state();
            state.free += 1;
            state.unproven -= usize::from(!*self.heard.get_mut());
            state.leaving -= usize::from(*self.leaving.get_mut());
        }
        first
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.give_back() {
            self.line.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn now(places: &Places, life: Life, size: usize) -> Option<Place> {
        tokio::time::timeout(Duration::from_millis(1), places.take(life, size))
            .await
            .ok()?
    }

    #[tokio::test(start_paused = true)]
    async fn silence_leaves_a_quarter_to_those_that_talk() {
        let places = Places::new(4);
        let silent = [now(&places, Life::Silent, 1).await, now(&places, Life::Silent, 1).await];
        let new = now(&places, Life::Unknown, 1).await.unwrap();
        assert!(silent.iter().all(Option::is_some));
        assert!(
            now(&places, Life::Unknown, 1).await.is_none(),
            "three of four are taken"
        );
        let shown = now(&places, Life::Shown, 1).await;
        assert!(shown.is_some() && now(&places, Life::Shown, 1).await.is_none());
        drop(shown);
        new.heard();
        assert!(
            now(&places, Life::Silent, 1).await.is_some(),
            "the new one is no longer silent"
        );
        drop((silent, new));
        let state = places.0.state();
        assert_eq!(
            (state.free, state.unproven),
            (4, 0),
            "whoever gave up waiting took nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_talk_go_first_then_the_larger_groups() {
        let places = Places::new(1);
        let held = now(&places, Life::Unknown, 1).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for (life, size) in [
            (Life::Silent, 9),
            (Life::Unknown, 1),
            (Life::Unknown, 5),
            (Life::Shown, 1),
        ] {
            let (places, order) = (places.clone(), Arc::clone(&order));
            waiting.spawn(async move {
                let place = places.take(life, size).await;
                order.lock().unwrap().push((life, size));
                drop(place);
            });
        }
        tokio::time::sleep(TRIAL).await;
        held.wanted().await;
        drop(held);
        waiting.join_all().await;
        let expected = [
            (Life::Shown, 1),
            (Life::Unknown, 5),
            (Life::Unknown, 1),
            (Life::Silent, 9),
        ];
        assert_eq!(*order.lock().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_makes_room_who_talks_or_whom_nobody_waits_for() {
        let places = Places::new(4);
        let first = now(&places, Life::Unknown, 1).await.unwrap();
        // With these, hosts that have not answered hold all they may.
        let _others = [
            now(&places, Life::Unknown, 1).await.unwrap(),
            now(&places, Life::Unknown, 1).await.unwrap(),
        ];
        let wanted = |place: Arc<Place>| async move {
            tokio::time::timeout(Duration::from_mins(1), place.wanted())
                .await
                .is_ok()
        };
        let first = Arc::new(first);
        assert!(!wanted(Arc::clone(&first)).await, "nobody waits");
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take(Life::Unknown, 1).await }
        });
        assert!(wanted(Arc::clone(&first)).await);
        first.heard();
        assert!(waiting.await.unwrap().is_some());
        assert!(!wanted(first).await);
    }
}
