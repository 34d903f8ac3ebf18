//! Traces: the context of somebody else's passes through, and those of protover's own hold nothing of a device.

use crate::rig::{Does, Rig, Upstream, message, post, site};

const XML: &str = "application/vnd.syncml.dm+xml";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_of_a_trace_passes_through_byte_for_byte() {
    let whole = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=1, b=2 ;x\r\ntracestate: c=%3\r\nbaggage: user=%20x,y=z;p=1\r\n";
    let twice = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntraceparent: 00-1-\"2\"-zz\r\n";
    for context in [whole, twice, "traceparent: \t;drop table--\r\ntracestate: ===\r\nbaggage: ,,\r\n", ""] {
        let upstream = Upstream::start(move |seen| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {XML}\r\nContent-Length: {}\r\n{context}\r\n", seen.body.len());
            Does::Answer([head.as_bytes(), &seen.body].concat())
        })
        .await;
        let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
        let got = rig.send(post(&format!("{context}Connection: close\r\n"), message("1.2", "DM/1.2").as_bytes())).await;
        let of = |head: &str| -> Vec<(String, String)> {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            let named = |(name, value): (&str, &str)| (name.to_lowercase(), value.trim().to_owned());
            lines.map(named).filter(|(name, _)| name.starts_with("trace") || name == "baggage").collect()
        };
        assert_eq!(of(&upstream.seen()[0].head), of(&format!("\r\n{context}")), "towards the server");
        assert_eq!(of(&got.head), of(&format!("\r\n{context}")), "towards the device");
    }
}

#[cfg(feature = "otlp")]
mod otlp {
    use std::{
        fs,
        time::{Duration, Instant},
    };

    use serde_json::Value;
    use tempfile::TempDir;
    use tokio::{io::AsyncWriteExt, net::TcpStream};

    use super::XML;
    use crate::{
        life::{Served, write},
        rig::{Answer, Does, PATIENCE, Seen, Upstream, answer, message, nobody, ok, post, site},
    };

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    /// A process, its server, and its folder.
    async fn served(environment: &[(&str, &str)]) -> (Served, Upstream, TempDir) {
        let upstream = Upstream::start(|_| Does::Answer(ok(XML, answer("1.2", "DM/1.2", "").as_bytes()))).await;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("policies");
        write(&folder, "", &site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", ""));
        let environment = [&[("OTEL_BSP_SCHEDULE_DELAY", "100")], environment].concat();
        (Served::start(&folder, &environment), upstream, home)
    }

    async fn collector() -> (Upstream, String) {
        let collector = Upstream::start(|_| Does::Answer(ok("application/json", b"{}"))).await;
        let endpoint = format!("http://{}", collector.address);
        (collector, endpoint)
    }

    async fn send(served: &Served, more: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(&post(&format!("{more}Connection: close\r\n"), body.as_bytes())).await.unwrap();
        Answer::read(&mut stream).await
    }

    fn context(sampled: &str) -> String {
        format!("traceparent: 00-{TRACE}-{PARENT}-{sampled}\r\ntracestate: a=1,b=2\r\nbaggage: k=v\r\n")
    }

    /// A span: where it belongs, and its attributes by name.
    #[derive(Debug)]
    struct Span {
        trace: String,
        id: String,
        parent: String,
        kind: i64,
        took: u64,
        attributes: serde_json::Map<String, Value>,
    }

    fn spans(seen: &[Seen]) -> Vec<Span> {
        let mut found = Vec::new();
        for request in seen {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap() {
                let text = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
                let nanos = |key: &str| text(key).parse::<u64>().unwrap();
                found.push(Span {
                    trace: text("traceId"),
                    id: text("spanId"),
                    parent: text("parentSpanId"),
                    kind: span["kind"].as_i64().unwrap(),
                    took: nanos("endTimeUnixNano") - nanos("startTimeUnixNano"),
                    attributes: named(&span["attributes"]),
                });
            }
        }
        found
    }

    fn named(attributes: &Value) -> serde_json::Map<String, Value> {
        let plain = |value: &Value| value["stringValue"].as_str().or(value["intValue"].as_str()).map(Into::into);
        let all = attributes.as_array().unwrap().iter();
        all.map(|one| (one["key"].as_str().unwrap().to_owned(), plain(&one["value"]).unwrap_or(one["value"].clone()))).collect()
    }

    /// What the collector got, once there are so many spans.
    async fn spans_of(collector: &Upstream, count: usize) -> Vec<Span> {
        let began = Instant::now();
        loop {
            let found = spans(&collector.seen());
            if found.len() >= count {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "{found:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_is_a_span_under_its_clients_and_over_its_servers() {
        let (collector, endpoint) = collector().await;
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_SERVICE_NAME", "dm-edge"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=other"),
        ];
        let (mut served, upstream, _home) = served(&environment).await;
        let got = send(&served, &context("01"), &message("1.2", "DM/1.1")).await;
        let all = spans_of(&collector, 2).await;
        let (client, server) = (&all[0], &all[1]);
        assert_eq!((client.kind, server.kind), (3, 2));
        assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, PARENT));
        assert_eq!((client.trace.as_str(), &client.parent), (TRACE, &server.id));
        assert!(client.took > 0 && client.took <= server.took, "{all:?}");
        let seen = &upstream.seen()[0];
        assert_eq!(seen.header("traceparent").unwrap(), format!("00-{TRACE}-{}-01", client.id));
        assert_eq!((seen.header("tracestate"), seen.header("baggage")), (Some("a=1,b=2"), Some("k=v")));
        assert_eq!((got.header("traceparent"), got.header("tracestate")), (None, None));

        let expected = serde_json::json!({
            "http.request.method": "POST", "url.scheme": "http", "url.path": "/dm", "http.response.status_code": "200",
            "protover.decision": got.header("protover-decision"), "protover.site": "s", "protover.server": "upstream",
            "protover.verdict": "advise", "protover.reason": "supported-not-recommended", "protover.requirement": "Server-2",
            "protover.declared": "DM/1.1", "protover.used": "DM/1.1", "protover.recommended": "DM/1.2",
        });
        assert_eq!(Value::Object(server.attributes.clone()), expected);
        let expected = serde_json::json!({
            "http.request.method": "POST", "http.response.status_code": "200",
            "server.address": "127.0.0.1", "server.port": upstream.address.port().to_string(),
        });
        assert_eq!(Value::Object(client.attributes.clone()), expected);
        let body: Value = serde_json::from_slice(&collector.seen()[0].body).unwrap();
        let resource = named(&body["resourceSpans"][0]["resource"]["attributes"]);
        assert_eq!((&resource["service.name"], &resource["deployment.environment.name"]), (&"dm-edge".into(), &"test".into()));
        assert!(collector.seen()[0].head.starts_with("POST /v1/traces "));

        // One that nobody sampled is followed, and not sent; nor is one that is unclear followed.
        send(&served, &context("00"), &message("1.2", "DM/1.2")).await;
        let unsampled = upstream.seen()[1].header("traceparent").unwrap().to_owned();
        assert!(unsampled.starts_with(&format!("00-{TRACE}-")) && unsampled.ends_with("-00"), "{unsampled}");
        assert!(!unsampled.contains(PARENT), "{unsampled}");
        send(&served, &context("01").repeat(2), &message("1.2", "DM/1.2")).await;
        let all = spans_of(&collector, 4).await;
        let seen = &upstream.seen()[2];
        assert_eq!(seen.head.to_lowercase().matches("\ntraceparent:").count(), 1, "{}", seen.head);
        assert_eq!(
            (seen.header("traceparent").unwrap(), seen.header("tracestate")),
            (&*format!("00-{}-{}-01", all[2].trace, all[2].id), None)
        );
        assert!(all[2].trace != TRACE && all[3].parent.is_empty(), "{all:?}");

        // What is still waiting is sent at the end.
        send(&served, "", &message("1.2", "DM/9.9")).await;
        served.signal("TERM");
        assert_eq!(served.ended(), 0);
        let all = spans(&collector.seen());
        let last = &all[4].attributes;
        assert_eq!(all.len(), 5, "a refusal has no exchange: {all:?}");
        assert_eq!((&last["protover.verdict"], &last["protover.declared"]), (&"refuse".into(), &"unrecognised".into()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_span_holds_anything_of_a_device() {
        const SECRETS: [&str; 9] =
            ["493005100592800", "hunter2", "Zm9vOmJhcg", "s3ss10n", "DM/9.9", "MSISDN", "iPhone", "127.0.0.2", "user-4711"];
        for protocol in ["http/protobuf", "http/json"] {
            let (collector, endpoint) = collector().await;
            let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
            let (mut served, _upstream, home) = served(&variables).await;
            let cred = "<Cred><Meta><Type xmlns=\"syncml:metinf\">syncml:auth-basic</Type></Meta><Data>Zm9vOmJhcg==</Data></Cred></SyncHdr>";
            let good = message("1.2", "DM/1.2").replace("</SyncHdr>", cred).replace("0A<", "s3ss10n<");
            let more = "Authorization: Basic hunter2\r\nCookie: IMEI=493005100592800\r\nUser-Agent: iPhone\r\nX-Forwarded-For: 127.0.0.2\r\n\
                baggage: device=493005100592800\r\ntracestate: a=493005100592800\r\n";
            let context = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n{more}");
            for body in [good.clone(), good.replace("DM/1.2", "DM/9.9"), good.replace("</VerProto>", "</Ver>")] {
                send(&served, &context, &body).await;
            }
            for line in ["POST /dm/IMEI:493005100592800", "POST /dm/s3ss10n?imei=493005100592800", "MSISDN /dm/user-4711"] {
                let raw = String::from_utf8(post(&format!("{context}Connection: close\r\n"), good.as_bytes())).unwrap();
                let mut stream = TcpStream::connect(served.address).await.unwrap();
                stream.write_all(raw.replace("POST /dm?x=%20y", line).as_bytes()).await.unwrap();
                Answer::read(&mut stream).await;
            }
            served.signal("TERM");
            assert_eq!(served.ended(), 0);
            assert_eq!(fs::read_to_string(home.path().join("decisions.log")).unwrap().lines().count(), 6);
            let seen = collector.seen();
            let sent: Vec<u8> = seen.iter().flat_map(|request| request.body.clone()).collect();
            let sent = String::from_utf8_lossy(&sent);
            assert_eq!(sent.matches("protover.decision").count(), 6, "{sent}");
            assert_eq!(
                seen[0].header("content-type"),
                Some(["application/x-protobuf", "application/json"][usize::from(protocol == "http/json")])
            );
            for secret in SECRETS {
                assert!(!sent.contains(secret), "{secret} by {protocol}: {sent}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_is_gone_costs_one_warning() {
        let endpoint = format!("http://{}", nobody().await);
        let (mut served, _upstream, home) = served(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
        for _ in 0..20 {
            assert_eq!(send(&served, &context("01"), &message("1.2", "DM/1.2")).await.status, 200);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(served.times("traces are incomplete", Duration::from_secs(5)), 1);
        served.signal("TERM");
        let began = Instant::now();
        assert_eq!(served.ended(), 0);
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        assert_eq!(fs::read_to_string(home.path().join("decisions.log")).unwrap().lines().count(), 20);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_never_answers_keeps_nobody_waiting() {
        let collector = Upstream::start(|_| Does::AnswerAndStall(Vec::new())).await;
        let endpoint = format!("http://{}", collector.address);
        let (mut served, _upstream, home) =
            served(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_BSP_MAX_QUEUE_SIZE", "8")]).await;
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(send(&served, &context("01"), &message("1.2", "DM/1.2")).await.status, 200);
        }
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        let said = served.says("traces are incomplete");
        assert!(said.contains("too many spans are waiting"), "{said}");
        served.signal("TERM");
        let began = Instant::now();
        let said = served.says("traces are incomplete");
        assert!(said.contains("the process ends"), "{said}");
        assert_eq!(served.ended(), 0);
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        assert_eq!(fs::read_to_string(home.path().join("decisions.log")).unwrap().lines().count(), 100);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_a_collector_or_when_forbidden_nothing_is_sent_or_changed() {
        let (collector, endpoint) = collector().await;
        for environment in [
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_SDK_DISABLED", "TRUE")],
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
        ] {
            let (mut served, upstream, _home) = served(&environment).await;
            send(&served, &context("01"), &message("1.2", "DM/1.2")).await;
            served.signal("TERM");
            assert_eq!(served.ended(), 0);
            assert!(collector.seen().is_empty());
            let seen = &upstream.seen()[0];
            assert_eq!(seen.header("traceparent"), Some(&*format!("00-{TRACE}-{PARENT}-01")));
            assert_eq!(seen.header("tracestate"), Some("a=1,b=2"));
        }
    }
}
