//! Wrong settings of the way out and of retries, by file, line and column.

use super::Place;

#[test]
fn what_cannot_be_meant_is_named() {
    let place = Place::new();
    for (text, said) in [
        ("ip = \"v4\"", "presend.toml:1:6: unknown variant `v4`"),
        ("source_ip = [\"here\"]", "presend.toml:1:"),
        (
            "source_ip = [\"192.0.2.77\"]",
            "192.0.2.77 is not an address of this machine",
        ),
        (
            "[retry]\ngreylistd = [\"6m\"]",
            "presend.toml:2:1: no reason is called `greylistd`; did you mean `greylisted`?",
        ),
        (
            "[retry]\nnull_mx = [\"6m\"]",
            "presend.toml:2:1: asking again does not change `null_mx`",
        ),
        (
            "[retry]\nprofile = \"hubspot\"",
            "presend.toml:2:11: unknown variant `hubspot`",
        ),
        ("[retry]\ngreylisted = \"6m\"", "presend.toml:2:14:"),
        (
            "[retry]\ngreylisted = [\"31days\"]",
            "`--retry greylisted` asks too often or too late",
        ),
        (
            "retry_profile = \"patient\"\n[retry]\nprofile = \"mailpro\"",
            "are the same setting",
        ),
    ] {
        place.write("presend.toml", text);
        let ran = place.run(&["config", "check"]);
        assert_eq!(ran.code, 2, "{text}: {}", ran.out);
        assert!(
            ran.err.starts_with("error: ") && ran.err.contains(said),
            "{text}: {}",
            ran.err
        );
    }
}
