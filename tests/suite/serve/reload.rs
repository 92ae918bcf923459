//! What changes while the server runs: SIGHUP, and what the service manager hears.

use std::{
    io::BufRead,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command},
};

use super::{
    program::{presend, start},
    *,
};

const RULE: &str = "[[rule]]\nid = \"odd/unknown\"\nlayer = \"unknown\"\ncode = [\"550\"]\nall = [\"computer says no\"]\n\
    class = \"user_unknown\"\nexample = [\"550 Computer says no\"]\nsource = \"seen\"\n";

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Reads the log up to a line with these words.
fn wait_for(log: &mut impl BufRead, words: &str) -> String {
    let mut all = String::new();
    while !all.lines().last().unwrap_or_default().contains(words) {
        assert_ne!(log.read_line(&mut all).unwrap(), 0, "{words}: {all}");
    }
    all
}

fn post(address: &str, path: &str, body: &Value) -> Value {
    let request = agent().post(format!("http://{address}{path}"));
    let answer = read(
        request
            .header("content-type", "application/json")
            .send(body.to_string().as_bytes()),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn hear(manager: &UnixDatagram) -> String {
    let mut said = [0; 200];
    let length = manager.recv(&mut said).unwrap();
    String::from_utf8_lossy(&said[..length]).into_owned()
}

#[test]
fn lists_and_rules_are_read_again_and_bad_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let manager = UnixDatagram::bind(folder.path().join("manager")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write("block.txt", "");
    write("replies.toml", "");
    let config = "level = \"syntax\"\nblock_list = [\"block.txt\"]\nreplies = \"replies.toml\"\n";
    write("presend.toml", config);
    let mut command = presend(&["serve", "--bind", "127.0.0.1:0"], &folder.path().join("presend.db"));
    command.env("NOTIFY_SOCKET", folder.path().join("manager"));
    let (child, mut log, address) = start(&mut command);
    let mut child = Ended(child);
    assert_eq!(hear(&manager), "READY=1");
    let asked = || {
        let one = post(&address, "/v1/verify", &ask("jane@blocked.com"))["reason"].clone();
        let two = post(&address, "/v1/classify", &json!({ "reply": "550 Computer says no" }))["rule"].clone();
        (one.as_str().unwrap().to_owned(), two == "odd/unknown")
    };
    assert_eq!(asked(), ("level_stop".to_owned(), false));

    write("block.txt", "blocked.com\n");
    write("replies.toml", RULE);
    signal(&child.0, "-HUP");
    let said = wait_for(&mut log, "the configuration was read again");
    assert!(hear(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(hear(&manager), "READY=1");
    assert!(!said.contains("next start"), "{said}");
    assert_eq!(asked(), ("block_listed".to_owned(), true));

    for (name, broken, words) in [
        ("replies.toml", "[[rule", "replies.toml"),
        (
            "replies.toml",
            "[[rule]]\nid = \"x\"\nclass = \"no_such_class\"\n",
            "replies.toml",
        ),
        ("block.txt", "not an entry\n", "block.txt:1"),
        ("presend.toml", "levle = \"dns\"\n", "presend.toml:1:1"),
    ] {
        let good = std::fs::read_to_string(folder.path().join(name)).unwrap();
        write(name, broken);
        signal(&child.0, "-HUP");
        let said = wait_for(&mut log, "the configuration stays as it was");
        assert!(said.contains(words), "{words}: {said}");
        assert_eq!(asked(), ("block_listed".to_owned(), true), "{name}");
        write(name, &good);
    }
    write("presend.toml", &format!("{config}helo_name = \"other.example.com\"\n"));
    signal(&child.0, "-HUP");
    let said = wait_for(&mut log, "with the next start only");
    assert!(said.contains("helo_name"), "{said}");
    signal(&child.0, "-TERM");
    assert!(
        std::iter::repeat_with(|| hear(&manager))
            .take(20)
            .any(|said| said == "STOPPING=1")
    );
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn a_certificate_is_read_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pair = |folder: &Path| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    };
    pair(folder.path());
    std::fs::write(
        folder.path().join("presend.toml"),
        "[serve]\nbind = \"127.0.0.1:0\"\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n",
    )
    .unwrap();
    let mut command = presend(&["serve", "--sandbox"], &folder.path().join("presend.db"));
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut child = Ended(child);
    assert!(wait_for(&mut log, "listens on").contains("https://127.0.0.1:"));
    wait_for(&mut log, "this is the sandbox");
    pair(folder.path());
    signal(&child.0, "-HUP");
    wait_for(&mut log, "a new certificate is used");
    std::fs::write(folder.path().join("cert.pem"), "").unwrap();
    signal(&child.0, "-HUP");
    assert!(wait_for(&mut log, "the certificate stays the old one").contains("cert.pem"));
    signal(&child.0, "-TERM");
    assert!(child.0.wait().unwrap().success());
}

/// A program that does not outlive a test that fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
