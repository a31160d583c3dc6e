//! Which source wins, what each name of the environment means, and what stops a start.

use std::path::PathBuf;

use super::ConfigTable;
use super::load::{ConfigFile, Input, LoadError, Loaded, Origin, assignment, load};

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> Option<ConfigFile> {
    Some(ConfigFile { path: PathBuf::from("ottla.toml"), text: text.to_owned() })
}

fn from(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Input {
    Input {
        file: file(text),
        environment: pairs(environment),
        flags: pairs(flags),
        insecure_no_auth: false,
    }
}

fn value(loaded: &Loaded, name: &str) -> Option<String> {
    loaded.broker.value_of(name).unwrap()
}

/// The text of the error that the input stops with.
fn refused(input: &Input) -> String {
    load(input).unwrap_err().to_string()
}

#[test]
fn nothing_set_is_one_loopback_listener_and_no_warning() {
    let loaded = load(&Input::default()).unwrap();
    assert_eq!(loaded.listeners.len(), 1);
    assert_eq!(loaded.listeners[0].bind.to_string(), "PLAINTEXT://localhost:9092");
    assert_eq!(loaded.listeners[0].advertised, None);
    assert_eq!(loaded.broker.node_id, 1);
    assert_eq!(loaded.broker.data_dir(), "./ottla-data");
    assert!(loaded.statics.is_empty());
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_default() {
    let text = "num.partitions = 4\n[log]\nretention.ms = 5\nroll = { ms = 6 }";
    let env = [("KAFKA_NUM_PARTITIONS", "7"), ("OTTLA_NUM_PARTITIONS", "8")];
    let flags = [("num.partitions", "9"), ("num.partitions", "10")];
    for (input, partitions, origin) in [
        (from(text, &[], &[]), "4", Origin::File("ottla.toml".into())),
        (from(text, &env[..1], &[]), "7", Origin::Environment("KAFKA_NUM_PARTITIONS".into())),
        (from(text, &env, &[]), "8", Origin::Environment("OTTLA_NUM_PARTITIONS".into())),
        (from(text, &env, &flags), "10", Origin::Flag),
    ] {
        let loaded = load(&input).unwrap();
        assert_eq!(value(&loaded, "num.partitions").as_deref(), Some(partitions));
        assert_eq!(loaded.statics["num.partitions"].origin, origin);
        assert_eq!(value(&loaded, "log.retention.ms").as_deref(), Some("5"));
        assert_eq!(value(&loaded, "log.roll.ms").as_deref(), Some("6"));
    }
}

#[test]
fn values_of_a_file_may_be_of_any_toml_type() {
    let text = r#"
        log.cleanup.policy = ["compact", "delete"]
        log.cleaner.min.cleanable.ratio = 1.0
        auto.create.topics.enable = false
        ottla.durability = "interval:50"
        ottla.http.port = 0
    "#;
    let loaded = load(&from(text, &[], &[])).unwrap();
    assert_eq!(value(&loaded, "log.cleanup.policy").as_deref(), Some("compact,delete"));
    assert_eq!(value(&loaded, "log.cleaner.min.cleanable.ratio").as_deref(), Some("1.0"));
    assert_eq!(value(&loaded, "auto.create.topics.enable").as_deref(), Some("false"));
    assert_eq!(value(&loaded, "ottla.durability").as_deref(), Some("interval:50"));
    assert_eq!(loaded.statics.len(), 5);
    assert_eq!(loaded.statics["ottla.http.port"].value.as_deref(), Some("0"));
}

#[test]
fn errors_say_where_the_setting_came_from() {
    for (input, text) in [
        (
            from("num.partitons = 4", &[], &[]),
            "configuration file ottla.toml: unknown config \"num.partitons\", did you mean \
             \"num.partitions\"?",
        ),
        (
            from("", &[], &[("retention.ms", "4")]),
            "command line: unknown config \"retention.ms\", did you mean \"log.retention.ms\"?",
        ),
        (
            from("", &[("KAFKA_NUM_PARTITIONS", "0")], &[]),
            "environment variable KAFKA_NUM_PARTITIONS: value \"0\" of num.partitions is not \
             valid: it must be an INT in [1,...]",
        ),
        (
            from("", &[], &[("authorizer.class.name", "Acl")]),
            "command line: authorizer.class.name = \"Acl\" asks for a check that this version of \
             ottla does not make",
        ),
        (
            from("node.id = 3\nbroker.id = 4", &[], &[]),
            "node.id is 3 and broker.id is 4: they are one thing",
        ),
        (
            from("day = 2026-01-01", &[], &[]),
            "configuration file ottla.toml: day is neither text nor number",
        ),
    ] {
        assert_eq!(refused(&input), text);
    }
    assert!(refused(&from("\n\na = ", &[], &[])).contains("line 3, column"));
    let missing = ConfigFile::read("/nonexistent/ottla.toml".as_ref()).unwrap_err();
    assert!(matches!(missing, LoadError::Read { .. }));
}

#[test]
fn variables_of_container_images_are_understood() {
    let env = [
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:29092,PLAINTEXT_HOST://localhost:9092"),
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
        ("KAFKA_BOOTSTRAP_SERVERS", "elsewhere:9092"),
        ("KAFKA_BROKER_ID", "7"),
        ("KAFKA_CFG_LOG_SEGMENT_BYTES", "2097152"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CTL"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@kafka:9093"),
        ("KAFKA_HEAP_OPTS", "-Xmx1G"),
        ("KAFKA_JMX_PORT", "9999"),
        (
            "KAFKA_LISTENERS",
            "PLAINTEXT://0.0.0.0:29092,PLAINTEXT_HOST://0.0.0.0:9092,CTL://0.0.0.0:9093",
        ),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CTL:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
        ),
        ("KAFKA_LOG_DIRS", "/var/lib/kafka/data"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "3"),
        ("KAFKA_PORT", "tcp://10.0.0.1:9092"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_UI_SERVICE_HOST", "10.0.0.2"),
        ("KAFKA_WHATEVER", "1"),
        ("KAFKA_ZOOKEEPER_CONNECT", "zookeeper:2181"),
        ("OTTLA_DURABILITY", "os"),
        ("OTTLA_INSECURE_NO_AUTH", "1"),
        ("OTTLA_NONSENSE", "1"),
        ("PATH", "/bin"),
    ];
    let loaded = load(&from("", &env, &[])).unwrap();
    let shown: Vec<_> = loaded
        .listeners
        .iter()
        .map(|listener| (listener.bind.to_string(), listener.advertised.clone().unwrap().address()))
        .collect();
    assert_eq!(
        shown,
        pairs(&[
            ("PLAINTEXT://0.0.0.0:29092", "kafka:29092"),
            ("PLAINTEXT_HOST://0.0.0.0:9092", "localhost:9092"),
        ])
    );
    assert_eq!(loaded.broker.node_id, 7);
    assert_eq!(loaded.broker.data_dir(), "/var/lib/kafka/data");
    assert_eq!(value(&loaded, "log.segment.bytes").as_deref(), Some("2097152"));
    assert_eq!(value(&loaded, "ottla.durability").as_deref(), Some("os"));
    assert_eq!(
        loaded.warnings,
        [
            "listener CTL://0.0.0.0:9093 is left out: there is no controller",
            "these settings of Kafka have no effect here: controller.listener.names, \
             controller.quorum.voters, process.roles, zookeeper.connect",
            "no setting is known for these variables: KAFKA_WHATEVER, OTTLA_NONSENSE",
        ]
    );
}

#[test]
fn advertised_addresses_of_an_image_alone_listen_on_every_interface() {
    let advertised = ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:19092");
    let allowed = ("OTTLA_INSECURE_NO_AUTH", "1");
    let loaded = load(&from("", &[advertised, allowed], &[])).unwrap();
    assert_eq!(loaded.listeners[0].bind.to_string(), "PLAINTEXT://0.0.0.0:19092");
    assert_eq!(loaded.statics["listeners"].value.as_deref(), Some("PLAINTEXT://0.0.0.0:19092"));
    assert!(refused(&from("", &[advertised], &[])).contains("OTTLA_INSECURE_NO_AUTH=1"));
}

#[test]
fn beyond_loopback_needs_a_word_of_consent() {
    for (address, loopback) in [
        ("127.0.0.1:1", true),
        ("127.8.9.10:1", true),
        ("[::1]:1", true),
        ("localhost:1", true),
        (":1", false),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("192.168.0.1:1", false),
        ("kafka:1", false),
    ] {
        let listeners = format!("PLAINTEXT://{address}");
        let mut input = from("", &[], &[("listeners", listeners.as_str())]);
        assert_eq!(load(&input).is_ok(), loopback, "{address}");
        input.insecure_no_auth = true;
        load(&input).unwrap();
    }
}

#[test]
fn listeners_that_cannot_work_are_refused() {
    for (name, value, text) in [
        ("listeners", "PLAINTEXT:127.0.0.1:1", "it must be NAME://HOST:PORT"),
        ("listeners", "PLAINTEXT://127.0.0.1", "it must be NAME://HOST:PORT"),
        ("listeners", "PLAINTEXT://127.0.0.1:70000", "it must be NAME://HOST:PORT"),
        ("listeners", "PLAINTEXT://[127.0.0.1:1", "it must be NAME://HOST:PORT"),
        ("listeners", "A://127.0.0.1:1,A://127.0.0.1:2", "no two of one name"),
        ("listeners", "", "it must be NAME://HOST:PORT"),
        ("listeners", "OUTSIDE://127.0.0.1:1", "add OUTSIDE:PLAINTEXT to"),
        ("listeners", "SASL_SSL://127.0.0.1:1", "asks for SASL_SSL, which this version"),
        ("listeners", "CONTROLLER://127.0.0.1:1", "has no listener for clients"),
        ("advertised.listeners", "OTHER://kafka:1", "no listener is named OTHER"),
        ("advertised.listeners", "PLAINTEXT://0.0.0.0:1", "no client can connect to"),
        ("listener.security.protocol.map", "PLAINTEXT", "it must be NAME:PROTOCOL"),
        ("listener.security.protocol.map", "PLAINTEXT:TLS", "it must be NAME:PROTOCOL"),
    ] {
        let shown = refused(&from("", &[], &[(name, value)]));
        assert!(shown.contains(text), "{value}: {shown}");
    }
}

#[test]
fn a_set_flag_is_a_key_and_a_value() {
    assert_eq!(assignment("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
    assert_eq!(assignment("a="), Ok(("a".to_owned(), String::new())));
    assignment("a").unwrap_err();
    assignment("=b").unwrap_err();
}
