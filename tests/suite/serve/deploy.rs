//! What is in docs/deploy: the service and the image. `presend.toml` is compared where it is made, in `cli::example`.

use std::{collections::BTreeMap, process::Command};

const UNIT: &str = include_str!("../../../docs/deploy/presend.service");
const IMAGE: &str = include_str!("../../../docs/deploy/Containerfile");

fn settings() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in UNIT.lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, value)) = line.split_once('=') {
            all.entry(key).or_default().push(value);
        }
    }
    all
}

#[test]
fn the_service_may_do_what_it_needs_and_no_more() {
    let all = settings();
    for (key, value) in [
        ("Type", "notify"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
        ("SystemCallArchitectures", "native"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
    ] {
        assert_eq!(all.get(key), Some(&vec![value]), "{key}");
    }
    assert!(all["ExecStart"][0].starts_with("/usr/local/bin/presend serve"));
}

/// systemd's own check, where systemd is.
#[test]
fn systemd_takes_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("presend.service");
    let program = env!("CARGO_BIN_EXE_presend");
    std::fs::write(&unit, UNIT.replace("/usr/local/bin/presend", program)).unwrap();
    let Ok(checked) = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .output()
    else {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&checked.stderr);
    // It speaks of the machine's other units too.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("presend.service")).collect();
    assert!(ours.is_empty(), "{said}");
    let args = ["security", "--offline=true", "--threshold=15", "--no-pager"];
    let rated = Command::new("systemd-analyze").args(args).arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&rated.stderr);
    let known = !said.contains("unrecognized option") && !said.contains("Unknown");
    assert!(
        rated.status.success() || !known,
        "{said}{}",
        String::from_utf8_lossy(&rated.stdout)
    );
}

#[test]
fn the_image_runs_as_nobody_in_particular() {
    let lines = |instruction: &str| -> Vec<&str> {
        let rest = |line: &'static str| line.strip_prefix(instruction)?.strip_prefix(' ');
        IMAGE.lines().filter_map(rest).collect()
    };
    let from = lines("FROM");
    assert_eq!(from.len(), 2);
    for image in from {
        let (_, tag) = image.split_once(':').expect("a tag");
        assert!(!tag.starts_with("latest"), "{image}");
    }
    assert_eq!(lines("USER"), ["65532:65532"]);
    assert_eq!(lines("ENTRYPOINT"), ["[\"/usr/local/bin/presend\"]"]);
    let minimum = include_str!("../../../Cargo.toml")
        .split("rust-version = \"")
        .nth(1)
        .unwrap();
    assert!(IMAGE.contains(&format!("rust:{}-", minimum.split('"').next().unwrap())));
    // Whatever is copied is there.
    for copied in lines("COPY").into_iter().filter(|line| !line.starts_with("--")) {
        let mut names: Vec<&str> = copied.split(' ').collect();
        names.pop();
        for name in names {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            assert!(path.exists(), "{name}");
        }
    }
}
