//! Many hosts at once, each with a network of its own.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use presend::net::{BoxFuture, Call, Dial, DialError, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// Hosts by their addresses; the sockets open towards them are counted.
#[derive(Clone)]
pub(super) struct World {
    nets: Vec<(IpAddr, FakeNet)>,
    by_ip: Arc<BTreeMap<IpAddr, usize>>,
    sockets: usize,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl World {
    pub(super) fn new(nets: Vec<(IpAddr, FakeNet)>) -> Self {
        let by_ip = nets.iter().enumerate().map(|(number, (ip, _))| (*ip, number)).collect();
        Self {
            nets,
            by_ip: Arc::new(by_ip),
            sockets: usize::MAX,
            open: Arc::default(),
            most: Arc::default(),
        }
    }

    pub(super) fn with_sockets(self, sockets: usize) -> Self {
        Self { sockets, ..self }
    }

    pub(super) fn net(&self, number: usize) -> &FakeNet {
        &self.nets[number].1
    }

    /// The most sockets that were open at once.
    pub(super) fn most_open(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub(super) fn scheduler(&self, manners: Manners) -> (Asker, presend::schedule::Findings) {
        for (host, (_, net)) in self.nets.iter().enumerate() {
            let ours = manners.trusted.contain(&format!("mx{host}.fake.test"));
            net.allows(if ours { &Limits::TRUSTED } else { &manners.limits });
        }
        let seams = Seams {
            meter: presend::meter::Meter::default(),
            dial: Arc::new(self.clone()),
            clock: Arc::new(SystemClock),
            classifier: None,
        };
        Scheduler::new(manners.clone(), seams).run(manners, errand())
    }

    /// The domains of a list whose mail goes to one host.
    pub(super) fn work(&self, host: usize, list: &[String], first_id: u32) -> Vec<Work> {
        let mail_host = exchanger(
            &format!("mx{host}.fake.test"),
            10,
            &self.nets[host].0.to_string(),
            false,
        );
        let route = Arc::new(MailRoute::Exchangers(vec![mail_host]));
        let mut domains: BTreeMap<String, Vec<Target>> = BTreeMap::new();
        for (id, address) in (first_id..).zip(list) {
            let address = Address::parse(address, RULES).unwrap();
            domains.entry(address.domain().to_owned()).or_default().push(Target {
                id,
                address,
                history: None,
            });
        }
        let work = |targets: Vec<Target>| Work {
            domain: targets[0].address.to_domain(),
            route: Arc::clone(&route),
            wildcard_zone: false,
            targets: targets.into(),
            memory: None,
        };
        domains.into_values().map(work).collect()
    }

    /// Asks about a list for each host; every address comes back once.
    pub(super) async fn ask(&self, manners: Manners, lists: &[Vec<String>]) -> BTreeMap<String, Finding> {
        let (mut scheduler, mut receiver) = self.scheduler(manners);
        let mut id = 0;
        for (host, list) in lists.iter().enumerate() {
            self.work(host, list, id)
                .into_iter()
                .for_each(|work| scheduler.add(work));
            id += u32::try_from(list.len()).unwrap();
        }
        scheduler.finish().await;
        let all: Vec<&String> = lists.iter().flatten().collect();
        let mut findings = BTreeMap::new();
        while let Some(batch) = receiver.recv().await {
            for finding in batch {
                let address = all[finding.id as usize].clone();
                assert!(findings.insert(address, finding).is_none(), "answered twice");
            }
        }
        assert_eq!(findings.len(), all.len(), "every target comes back");
        findings
    }
}

impl Dial for World {
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        let net = &self.nets[self.by_ip[&call.to.ip()]].1;
        Box::pin(async move {
            let stream = net.dial(call).await?;
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(open, Ordering::Relaxed);
            let open = Arc::clone(&self.open);
            Ok(Box::new(Counted { stream, open }) as Box<dyn Stream>)
        })
    }

    fn sockets(&self) -> usize {
        self.sockets
    }
}

struct Counted {
    stream: Box<dyn Stream>,
    open: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
