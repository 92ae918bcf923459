//! Work spread over threads whose results come back in the order in which it was handed out.
//!
//! One thread reads and takes back, the others work; a slow one holds up the order and nothing else. Knows nothing of rows.

use std::{sync::mpsc, thread};

/// A thread that works on pieces, one at a time, in the order they come.
struct Worker<B> {
    to: mpsc::SyncSender<B>,
    from: mpsc::Receiver<B>,
}

/// How work is spread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conveyor {
    /// Threads that work, 1 at least.
    pub(crate) threads: usize,
    /// Pieces on their way at once for each thread; bounds the memory.
    pub(crate) ahead: usize,
}

impl Conveyor {
    /// Fills pieces until `fill` says that there is no more, has each worked on by some thread, and takes them back in order. The
    /// memory of a piece is used again.
    ///
    /// # Errors
    /// The first error of `fill` or `take`; what is on its way is dropped.
    pub(crate) fn run<B: Default + Send, E>(
        self,
        mut fill: impl FnMut(&mut B) -> Result<bool, E>,
        work: impl Fn(&mut B) + Sync,
        mut take: impl FnMut(&mut B) -> Result<(), E>,
    ) -> Result<(), E> {
        thread::scope(|scope| {
            let work = &work;
            let worker = |_| {
                let (to, pieces) = mpsc::sync_channel::<B>(self.ahead);
                let (done, from) = mpsc::sync_channel(self.ahead);
                scope.spawn(move || {
                    for mut piece in pieces {
                        work(&mut piece);
                        if done.send(piece).is_err() {
                            return;
                        }
                    }
                });
                Worker { to, from }
            };
            let workers: Vec<Worker<B>> = (0..self.threads.max(1)).map(worker).collect();
            let mut turns = workers.iter().cycle();
            let mut returns = workers.iter().cycle();
            let mut take_next = || -> Result<Option<B>, E> {
                let Some(Ok(mut piece)) = returns.next().map(|worker| worker.from.recv()) else {
                    return Ok(None);
                };
                take(&mut piece)?;
                Ok(Some(piece))
            };
            let mut spare: Vec<B> = Vec::new();
            let mut on_their_way = 0;
            loop {
                if on_their_way == workers.len() * self.ahead {
                    spare.extend(take_next()?);
                    on_their_way -= 1;
                }
                let mut piece = spare.pop().unwrap_or_default();
                if !fill(&mut piece)? {
                    break;
                }
                let Some(worker) = turns.next() else { break };
                if worker.to.send(piece).is_err() {
                    break;
                }
                on_their_way += 1;
            }
            for _ in 0..on_their_way {
                take_next()?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_back_in_order_whatever_the_number_of_threads() {
        for threads in [1, 2, 7] {
            let conveyor = Conveyor { threads, ahead: 2 };
            let (mut next, mut back) = (0_u32, Vec::new());
            let fill = |piece: &mut u32| {
                next += 1;
                *piece = next;
                Ok::<_, ()>(next <= 100)
            };
            let work = |piece: &mut u32| {
                if piece.is_multiple_of(3) {
                    thread::yield_now();
                }
                *piece *= 2;
            };
            conveyor
                .run(fill, work, |piece| {
                    back.push(*piece);
                    Ok(())
                })
                .unwrap();
            assert_eq!(back, (1..=100).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let conveyor = Conveyor { threads: 2, ahead: 1 };
        let mut left = 10;
        let fill = |_: &mut u8| {
            left -= 1;
            if left == 0 { Err("no more") } else { Ok(true) }
        };
        assert_eq!(conveyor.run(fill, |_| {}, |_| Ok(())), Err("no more"));
    }
}
