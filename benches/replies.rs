//! Ordinary replies classified in a second on one core. Run with `cargo bench --bench replies`.
#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use presend::{
    replies::classify,
    smtp::{Reply, Stage},
};

/// Replies as hosts give them all day.
const ORDINARY: [&str; 10] = [
    "550 5.1.1 <jane@example.com>: Recipient address rejected: User unknown in virtual mailbox table",
    "250 2.1.5 Ok",
    "550-5.1.1 The email account that you tried to reach does not exist. Please try\n550-5.1.1 double-checking the recipient's email address for typos or\n550-5.1.1 unnecessary spaces. For more information, go to\n550 5.1.1  https://support.google.com/mail/?p=NoSuchUser 5b1f17b1804b1-47 - gsmtp",
    "451 4.7.1 <jane@example.com>: Recipient address rejected: Greylisted for 300 seconds",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    "550 5.4.1 Recipient address rejected: Access denied. [DB5PEPF00014B8E.eurprd02.prod.outlook.com]",
    "552 5.2.2 The email account that you tried to reach is over quota.",
    "550 No such user here",
    "450 4.2.0 Try again later",
    "550 Requested action not taken: mailbox unavailable",
];

fn main() {
    let replies: Vec<Reply> = ORDINARY.iter().filter_map(|text| Reply::parse(text)).collect();
    let started = Instant::now();
    for reply in &replies {
        black_box(classify(Stage::Rcpt, reply, None));
    }
    println!("first use (rules compiled): {:?}", started.elapsed());
    // The best of many short windows: what the code can do, whatever else the machine does.
    let best = (0..20)
        .map(|_| {
            let started = Instant::now();
            let mut count = 0_u32;
            while started.elapsed() < Duration::from_millis(150) {
                for reply in &replies {
                    black_box(classify(Stage::Rcpt, black_box(reply), None));
                    count += 1;
                }
            }
            f64::from(count) / started.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max);
    println!("{best:.0} replies/s");
    let hostile = Reply::parse(&format!("550 {}", "no such user {who} 5.1.1 a.b ".repeat(2260)))
        .into_iter()
        .next();
    if let Some(reply) = hostile {
        let started = Instant::now();
        for _ in 0..100 {
            black_box(classify(Stage::Rcpt, &reply, None));
        }
        println!("64 KiB of hostile text: {:?}", started.elapsed() / 100);
    }
}
