//! `protover report`: what decision logs say about the migration.

mod summary;
mod text;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use summary::Summary;

use super::{Failure, print};

/// A longer line is none of ours; the longest that protover writes has a few thousand bytes.
const LINE: u64 = 64 << 10;

/// Says what decision logs tell about the migration: versions over time, devices left on old
/// versions, refusals.
///
/// Lines that cannot be read are counted and passed over. Logs of any size are read line by line;
/// what is kept is bounded: 1,000,000 devices (about 150 bytes each), 64 versions, 3,660 days and
/// 4,096 different refusals; what goes beyond is counted as "other".
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  protover report /var/log/protover/decisions.log\n  zcat decisions.log.*.gz | protover report -"
)]
pub(super) struct Report {
    /// Decision logs, in any order; `-` is stdin.
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// How many of the devices left on old versions are named.
    #[arg(long, default_value_t = 20, value_name = "N")]
    devices: usize,
    /// Writes the report as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Report {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut summary = Summary::default();
        for path in &self.logs {
            read(path, &mut summary).map_err(|error| Failure::doing(path.display(), error))?;
        }
        if summary.lines == 0 && summary.unreadable > 0 {
            return Err(Failure::Failed(format!("no decision lines, but {} others", summary.unreadable)));
        }
        print(if self.json { text::json(&summary, self.devices) } else { text::text(&summary, self.devices) })
    }
}

fn read(path: &Path, summary: &mut Summary) -> io::Result<()> {
    if path == Path::new("-") {
        return lines(io::stdin().lock(), summary);
    }
    lines(BufReader::with_capacity(256 << 10, File::open(path)?), summary)
}

fn lines(mut input: impl BufRead, summary: &mut Summary) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        if !whole && line.len() as u64 == LINE {
            summary.unreadable += 1;
            if input.skip_until(b'\n')? == 0 {
                return Ok(());
            }
        } else if !line.trim_ascii().is_empty() {
            summary.add(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE, lines, summary::Summary, text};

    fn line(ts: &str, device: &str, declared: &str, verdict: &str, reason: &str) -> String {
        format!(
            r#"{{"ts":"{ts}","id":"0","listener":"devices","site":"operator","kind":"message","device":"{device}","declared":"{declared}","recommended":"DM/1.3","verdict":"{verdict}","reason":"{reason}","http_status":200}}"#
        )
    }

    fn summary(text: &str) -> Summary {
        let mut summary = Summary::default();
        lines(text.as_bytes(), &mut summary).unwrap();
        summary
    }

    #[test]
    fn the_story_of_a_migration() {
        let log = [
            line("2026-07-01T10:00:00.000000Z", "IMEI:1", "DM/1.1", "bridge", "bridged"),
            line("2026-07-01T11:00:00.000000Z", "IMEI:2", "DM/1.2", "advise", "supported-not-recommended"),
            line("2026-07-01T12:00:00.000000Z", "IMEI:4", "DM/9.9", "refuse", "unrecognised-version"),
            // Newest first: what counts is the time in the line, not its place.
            line("2026-07-02T10:00:01.000000Z", "IMEI:2", "DM/1.3", "pass", "recommended"),
            line("2026-07-02T10:00:00.000000Z", "IMEI:2", "DM/1.1", "bridge", "bridged"),
            line("2026-07-02T12:00:00.000000Z", "IMEI:3", "DM/1.1", "refuse", "integrity-protected"),
            line("2026-07-02T12:00:01.000000Z", "IMEI:3", "DM/1.1", "refuse", "integrity-protected"),
            "not JSON".into(),
            "{}".into(),
            String::new(),
            r#"{"ts":"2026-07-02T12:00:00.000000Z","id":"1","kind":"connection","verdict":"fail","reason":"tls-handshake","site":null}"#.into(),
        ];
        insta::assert_snapshot!(text::text(&summary(&log.join("\n")), 1), @r"
        8 decision lines, 2026-07-01T10:00:00.000000Z to 2026-07-02T12:00:01.000000Z
        2 lines could not be read

        Messages by day and declared version
          day         DM/1.1  DM/1.2  DM/1.3  DM/9.9
          2026-07-01       1       1       0       1
          2026-07-02       3       0       1       0

        Devices by the version that they declared last
          version  devices
          DM/1.1         2
          DM/1.3         1
          DM/9.9         1

        2 devices are left on a version below the recommended one
          device  declared  recommended  last seen
          IMEI:1  DM/1.1    DM/1.3       2026-07-01T10:00:00.000000Z
          (and 1 more; --devices names more)

        Refused, failed or abandoned
          count  site      verdict  reason                declared
              2  operator  refuse   integrity-protected   DM/1.1
              1  -         fail     tls-handshake         none
              1  operator  refuse   unrecognised-version  DM/9.9
        ");
    }

    #[test]
    fn rubbish_is_counted_and_memory_stays_bounded() {
        let long = "x".repeat(3 * LINE as usize);
        let good = line("2026-07-01T10:00:00.000000Z", "IMEI:1", "DM/1.1", "bridge", "bridged");
        let mut log = format!("{long}\n{good}\n\u{0}\u{0}\n[1,2]\n{long}");
        assert_eq!((summary(&log).lines, summary(&log).unreadable), (1, 4));
        for n in 0..200 {
            log += &format!(
                "\n{}",
                line("2026-07-01T10:00:00.000000Z", "IMEI:1", &format!("DM/{n}"), "refuse", "unrecognised-version")
            );
        }
        let summary = summary(&log);
        assert_eq!(summary.versions.len(), 65, "64 and the other ones");
        assert_eq!(summary.days.values().flat_map(|day| day.values()).sum::<u64>(), 201);
    }

    #[test]
    fn json_says_the_same() {
        let log = line("2026-07-01T10:00:00.000000Z", "IMEI:1", "DM/1.1", "bridge", "bridged");
        insta::assert_snapshot!(text::json(&summary(&log), 20), @r#"{"devices_by_version":{"DM/1.1":1},"devices_left":[{"declared":"DM/1.1","device":"IMEI:1","last_seen":"2026-07-01T10:00:00.000000Z","recommended":"DM/1.3"}],"devices_left_by_version":{"DM/1.1":1},"first":"2026-07-01T10:00:00.000000Z","last":"2026-07-01T10:00:00.000000Z","lines":1,"messages_by_day":{"2026-07-01":{"DM/1.1":1}},"messages_of_devices_left_out":0,"refusals":[],"refusals_left_out":0,"unreadable":0}"#);
    }
}
