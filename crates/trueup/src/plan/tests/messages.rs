//! Bad input gets a message that names the thing, its place and the fix.

use super::*;

/// A class that holds, with `lines` added from line 4 on.
fn user(lines: &str) -> String {
    refusal(&format!("[class.user]\ntable = \"user\"\nkey = [\"id\"]\n{lines}"))
}

#[test]
fn malformed_toml_is_placed() {
    let message = refusal("[class.user]\ntable = \"user\nkey = 1");
    assert!(message.starts_with("trueup.toml:2:"), "{message}");
    assert!(message.contains(": not valid TOML: "), "{message}");
    assert!(refusal("a = \n[[[").lines().all(|line| line.contains("not valid TOML")));
    assert!(refusal("[l2]\nurls = []\n[l2]\n").contains("trueup.toml:3:"));
}

#[test]
fn unknown_keys_are_suggested() {
    assert_eq!(
        refusal("[memory]\nbucket = 5"),
        "trueup.toml:2:1: memory.bucket: unknown key, did you mean \"buckets\"?; known: bloom_max, buckets, capacity, recent_max"
    );
    assert_eq!(
        refusal("[sever]\n"),
        "trueup.toml:1:2: sever: unknown section, did you mean \"server\"?; known: class, defaults, fleet, l2, \
         memory, server, source, warm, write_behind"
    );
    assert!(user("max_stalenes = \"1s\"").contains("unknown key, did you mean \"max_staleness\"?"));
    assert!(user("colour = 1").starts_with("trueup.toml:4:1: class.user.colour: unknown key; known: "));
    assert!(
        user("invalidation = { owners = \"a\" }").contains("class.user.invalidation.owners: unknown key")
    );
}

#[test]
fn quantities_without_a_unit_are_refused() {
    assert_eq!(
        user("life = 30"),
        "trueup.toml:4:8: class.user.life: 30 is not a span of time with its unit; write \"250ms\", \"30s\" or \"1h\""
    );
    assert_eq!(
        user("life = \"30\""),
        "trueup.toml:4:8: class.user.life: \"30\" is no span of time: write a number with a unit, such as \"250ms\", \
         \"30s\" or \"1h\""
    );
    assert!(
        user("l1_capacity = 1000")
            .contains("1000 is not a size with its unit; write \"64MiB\" or \"512KiB\"")
    );
    assert!(user("jitter = 0.1").contains("0.1 is not a share in per cent; write \"10%\" or \"0.1%\""));
}

#[test]
fn wrong_types_and_values_are_named() {
    assert_eq!(
        user("l1_eviction = \"lru2\""),
        "trueup.toml:4:15: class.user.l1_eviction: \"lru2\" is none of its values, did you mean \"lru\"?; write one of \
         \"s3-fifo\", \"lru\", \"lfu\", \"fifo\", \"sieve\""
    );
    for (lines, message) in [
        ("l2 = \"yes\"", "class.user.l2: \"yes\" is not a yes or no; write true or false"),
        ("scope = 1", "class.user.scope: 1 is not a list of texts; write a list such as [\"id\"]"),
        ("scope = [1]", "trueup.toml:4:10: class.user.scope: 1 is not a text; write a list such as [\"id\"]"),
        ("scope = 2020-01-01", "a date is not a list of texts"),
        ("loads_max = 0", "class.user.loads_max: 0 is out of range; write 1 to 1000000"),
        ("loads_max = -1", "class.user.loads_max: -1 is out of range"),
        (
            "query = \"SELECT 1\"",
            "values of a class come from one place; keep one of `table`, `query` and `origin`",
        ),
        (
            "invalidation = [\"p\"]",
            "\"p\" is no group of rows; write \"table:column\", such as \"products:category\"",
        ),
        ("invalidation = \"rows\"", "\"rows\" is none of its values, did you mean \"row\"?"),
        ("loss = \"all\"", "only write-behind can lose what it acknowledged; remove `loss`"),
        (
            "second_delete_after = \"1s\"",
            "only delete-update-delete deletes twice; remove `second_delete_after`",
        ),
        ("pattern = \"delete-update-delete\"", "the feed ends the class's entries, on every node"),
        (
            "pattern = \"write-behind\"\nloss = \"a second\"\nlife = \"9s\"\ninvalidation = { owner = \"me\", reason = \"shown\" }",
            "the class is written behind, and no journal is named; write a section `[write_behind]`",
        ),
        (
            "pattern = \"write-behind\"\nloss = \"a second\"\npurpose = \"display-balance\"",
            "an amount of money is never acknowledged before the source has it",
        ),
        ("beta = 1", "it weighs early refresh, which is not chosen; write `refresh = \"early\"`"),
        (
            "refresh = \"background\"",
            "background refresh must know when an entry is due; write how long before its",
        ),
        ("refresh = \"early\"\nrefresh_ahead = \"1s\"", "it times background refresh, which is not chosen"),
        ("warm_keys_max = 9", "it limits warming, which is not chosen; write `cold_start = \"warm\"`"),
        ("l2_life = \"1s\"\nl2 = false", "the class is kept out of the remote tier by `l2 = false`"),
        (
            "l2 = true",
            "the class asks for a remote tier, and none is named; name one (`--l2 URL`, or `[l2]` with `urls`), or",
        ),
    ] {
        assert!(user(lines).contains(message), "{}", user(lines));
    }
    assert!(
        refusal("[write_behind]\nflush_every = \"1s\"")
            .contains("accepted writes need a folder to be kept in")
    );
    assert!(
        refusal("[write_behind]\njournal = \"j\"\njournal_bytes_max = \"1KiB\"")
            .contains("a journal has 1 MiB at least")
    );
    assert!(refusal("class = 1").contains("class: 1 is not a table; write `[section]`"));
    assert!(
        refusal("[class.User]\ntable = \"u\"\nkey = \"id\"").contains("class name \"User\" is not valid")
    );
    let enums =
        "[class.s]\ntable = \"s\"\n[class.s.key.parameters]\na = { type = \"enum\" }\nb = { values = [] }";
    assert!(refusal(enums).contains("class.s.key.parameters.a.type: an enum needs its values"));
    assert!(refusal(enums).contains("class.s.key.parameters.b.values: only an enum has values"));
}

#[test]
fn conflicting_decisions_stand_at_their_lines() {
    assert_eq!(
        user("life = \"10s\"\nnegative_life = \"20s\""),
        "trueup.toml:5:17: class.user.negative_life: class \"user\": `negative_life` (eviction): 20s is longer than life \
         = 10s (\"absent\" is the answer most likely to change); shorten `negative_life` or lengthen `life`"
    );
    assert_eq!(
        user("purpose = \"decision\"\nserve_stale = \"1min\""),
        "trueup.toml:5:15: class.user.serve_stale: class \"user\": `serve_stale` (never-cache): purpose = \"decision\" \
         is never cached (a decision taken on a copy can be taken twice); remove `serve_stale`, or choose a purpose \
         that may be cached"
    );
    assert_eq!(
        user("pattern = \"write-behind\""),
        "trueup.toml:1:8: class.user: class \"user\": `loss` must be decided (pattern: who loads the value, and who \
         writes it?): write-behind acknowledges before the source knows: write what you accept to lose, such as `loss \
         = \"up to one second of view counts\"`, or choose `pattern = \"write-through\"`"
    );
    let tiers = "[l2]\nurls = \"redis://r:1\"\n[class.user]\ntable = \"user\"\nkey = \"id\"\nl1_life = \"1min\"\nl2_life = \"30s\"";
    assert!(
        refusal(tiers)
            .starts_with("trueup.toml:6:11: class.user.l1_life: class \"user\": `l1_life` (eviction): 1min")
    );
    let general =
        "[defaults]\nnegative_life = \"20s\"\n[class.user]\ntable = \"user\"\nkey = \"id\"\nlife = \"10s\"";
    assert!(
        refusal(general)
            .starts_with("trueup.toml:2:17: defaults.negative_life: class \"user\": `negative_life`")
    );
}

#[test]
fn secrets_are_refused_and_never_shown() {
    assert_eq!(
        refusal("[source]\nurl = \"sqlite:a\"\npassword = \"hunter2\""),
        "trueup.toml:3:1: source.password: a secret does not belong here: put it into a file that only this user can \
         read and write `password_file = \"PATH\"`"
    );
    for text in [
        "[server]\npasswd = \"hunter2\"",
        "[l2]\nurls = [\"redis://h:1\"]\nsecret = \"hunter2\"",
        "[source]\nurl = \"postgres://me:hunter2@h/d\"",
        "[source]\nurl = \"postgres://me@h/d?password=hunter2\"",
        "[l2]\nurls = [\"redis://:hunter2@h:1\"]",
    ] {
        let message = refusal(text);
        assert!(
            message.contains("a secret does not belong here") && !message.contains("hunter2"),
            "{message}"
        );
    }
}

#[test]
fn settings_of_the_server_are_checked() {
    for (text, message) in [
        ("[source]\nbusy_timeout = \"1s\"", "source.url: the source has no address; write `url = "),
        (
            "[source]\nurl = \"mysql://h\"",
            "names no kind of database that Trueup reads; write \"sqlite:PATH\" or \"postgres://USER@HOST/DATABASE\"",
        ),
        (
            "[source]\nurl = \"sqlite:a\"\nreplicas = [\"postgres://h/d\"]",
            "source.replicas: only PostgreSQL has standbys; leave `replicas` out",
        ),
        (
            "[fleet]\n",
            "fleet.advertise: the other nodes do not know where to follow this one; write `advertise",
        ),
        (
            "[fleet]\nadvertise = \"http://h:1\"\nslot = \"A b\"",
            "\"A b\" is not a slot's name; write lower-case letters, digits and `_`, 63 at most",
        ),
        (
            "[server]\nresp = \"here\"",
            "\"here\" is not an address; write IP and port such as \"127.0.0.1:7379\"",
        ),
        (
            "[server]\nhttp = \"0.0.0.0:80\"",
            "other machines could read everything without a password; write `password_file = \"PATH\"` or `--token-file PATH`",
        ),
        ("[memory]\nbuckets = 100000000", "100000000 is out of range; write 1024 to 67108864"),
        ("[l2]\n", "l2.urls: the remote tier has no address; write `urls = [\"redis://HOST:PORT\"]`"),
        (
            "[l2]\nurls = [\"redis://a:1\", \"redis://b:1\"]",
            "several nodes are a cluster; write \"redis-cluster://",
        ),
        ("[l2]\nurls = [\"http://a\"]", "\"http://a\" is not the address of a remote tier"),
    ] {
        assert!(refusal(text).contains(message), "{}", refusal(text));
    }
}

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_file() {
    let message = refusal("[server]\nresp = 1\n[class.a]\nlife = 2\n[memory]\nbucket = 3\n");
    let lines: Vec<&str> = message.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        lines,
        ["trueup.toml:2:8", "trueup.toml:3:8", "trueup.toml:3:8", "trueup.toml:4:8", "trueup.toml:6:1"]
    );
}

#[test]
fn each_conflict_of_one_setting_is_reported() {
    let message = refusal("[class.a]\nquery = \"SELECT :x, :y\"\nscope = []\nkey = \"id\"");
    assert!(message.contains("its parameter :x is") && message.contains("its parameter :y is"), "{message}");
}

#[test]
fn an_unknown_class_is_suggested() {
    let plan =
        read("[class.user]\ntable = \"user\"\nkey = \"id\"\n[class.fee]\ntable = \"fee\"\nkey = \"id\"");
    assert_eq!(
        plan.class("usr").unwrap_err().to_string(),
        "unknown class \"usr\", did you mean \"user\"?; known: fee, user"
    );
    assert_eq!(plan.class("fee").unwrap().name().as_str(), "fee");
}

#[test]
fn what_cannot_be_warmed_is_refused_with_what_to_write() {
    for (lines, message) in [
        (
            "[warm]\npreheat_at = \"8:30\"",
            "warm.preheat_at: \"8:30\": it is no time of the day; write hour and minute, UTC, such as",
        ),
        (
            "[warm]\npreheat_at = \"08:30\"",
            "warm.preheat_at: nobody knows what is to be read; name an access log",
        ),
        (
            "[warm]\npreheat_file = \"log\"",
            "warm.preheat_file: nobody knows when its keys are to be read; write the times",
        ),
        (
            "[warm]\npreheat_window = \"13h\"",
            "warm.preheat_window: it is longer than half a day; write \"12h\" at most",
        ),
        (
            "[warm]\nroutes = [\"product\"]",
            "warm.routes: \"product\": it is no route; write \"CLASS=/path/{key}\", or",
        ),
        ("[warm]\nsave_every = \"0s\"", "warm.save_every: nothing can be saved all the time"),
        ("[warm]\nwithn = \"9s\"", "did you mean \"within\"?"),
        (
            "[source]\nurl = \"sqlite:x\"\nramp_floor = \"5%\"",
            "source.ramp_floor: it begins a ramp, and none is declared; write how long",
        ),
    ] {
        assert!(refusal(lines).contains(message), "{}", refusal(lines));
    }
}
