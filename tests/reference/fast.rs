//! The library behind the reference's face: the same settings, options and records in, the same kind of ends out.

use logmill::flow::problem::Problem;
use logmill::flow::record::Record;
use logmill::flow::tally::Tally;
use logmill::transform::{LaneRule, Options, Out, Program, Ready, Stop, Transformer, Unpacker, Verdict, Way};

use super::settings::Project;
use super::{End, Remarks};

/// The settings files of one `app_id`, as text.
#[derive(Debug, Clone)]
pub struct Files {
    pub app_id: String,
    pub metadata: Option<String>,
    pub filter: Option<String>,
}

impl Files {
    pub fn new(app_id: &str, metadata: &str, filter: &str) -> Files {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
        Files { app_id: app_id.to_string(), metadata: some(metadata), filter: some(filter) }
    }

    pub fn project(&self) -> Project {
        Project::new(&self.app_id, self.metadata.as_deref(), self.filter.as_deref())
    }
}

/// What the library loads from these files.
pub fn load(files: &[Files]) -> Result<Program, Vec<Problem>> {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        for (kind, text) in [("metadata", &file.metadata), ("filter", &file.filter)] {
            let name = format!("mthinkingdata:{kind}.{}.json", file.app_id);
            if let Some(text) = text {
                std::fs::write(dir.path().join(name), text).unwrap();
            }
        }
    }
    let app_ids: Vec<String> = files.iter().map(|file| file.app_id.clone()).collect();
    Program::load(dir.path(), &app_ids)
}

pub struct Fast {
    program: Program,
    max_line_bytes: usize,
    unpacker: Unpacker,
    transformers: [Transformer; 3],
}

/// How a piece ended, and the lanes it would take where it got that far.
pub type EndAndLanes = (End, Option<Vec<u32>>);

impl Fast {
    pub fn new(files: &[Files], options: &Options) -> Fast {
        let program = load(files).unwrap_or_else(|problems| panic!("{problems:?}\n{files:?}"));
        Fast {
            program,
            max_line_bytes: options.max_line_bytes,
            unpacker: Unpacker::new(options),
            transformers: [Way::Best, Way::Portable, Way::General].map(|way| Transformer::with(options.clone(), way)),
        }
    }

    /// Other settings for the records to come.
    pub fn reload(&mut self, files: &[Files]) {
        self.program = load(files).unwrap_or_else(|problems| panic!("{problems:?}\n{files:?}"));
    }

    /// As [`super::transform`]; `room` is the size of the first stretch offered to a line.
    pub fn ends(&mut self, record: &Record<'_>, now_ms: i64, rules: &[LaneRule], room: usize) -> Vec<EndAndLanes> {
        let unpacked = match self.unpacker.unpack(record.value) {
            Err(parked) => return vec![(End::Parked(parked.code.name()), None)],
            Ok(unpacked) => unpacked,
        };
        let mut ends = Vec::new();
        for (k, piece) in unpacked {
            let [best, portable, general] = &mut self.transformers;
            let [best, portable, general] = [best, portable, general].map(|transformer| {
                match transformer.read(&self.program, record, piece, k, now_ms) {
                    Verdict::Filtered => (End::Filtered, None),
                    Verdict::Parked(parked) => (End::Parked(parked.code.name()), None),
                    Verdict::Ready(mut ready) => {
                        let lanes: Vec<u32> = rules.iter().map(|rule| ready.lane(rule)).collect();
                        (emit(&mut ready, room, self.max_line_bytes), Some(lanes))
                    }
                }
            });
            assert_eq!(best, general, "with shapes, then without");
            assert_eq!(portable, general, "with shapes on any CPU, then without");
            ends.push(best);
        }
        ends
    }
}

/// Offers `room` bytes and then, if that was too small, as many as a line may have.
fn emit(ready: &mut Ready<'_>, room: usize, max_line_bytes: usize) -> End {
    let mut tally = Tally::default();
    for room in [room.min(max_line_bytes), max_line_bytes] {
        let mut bytes = vec![0; room];
        let mut out = Out::new(&mut bytes);
        match ready.emit(&mut out, &mut tally) {
            Ok(()) => {
                assert!(!out.is_full(), "a line that did not fit was called finished");
                let remarks: Remarks = tally.named().collect();
                return End::Written { line: out.written().to_vec(), remarks };
            }
            Err(stop) => {
                assert_eq!(tally, Tally::default(), "counters rise only with a written line");
                if let Stop::Parked(parked) = stop {
                    return End::Parked(parked.code.name());
                }
            }
        }
    }
    panic!("a line was refused although there was room for the longest");
}
