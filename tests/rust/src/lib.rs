//! What the tests and the processes that they start have in common.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use psmalloc::{
    Error, HashMap, LockError, Mutex, MutexGuard, Plain, Scope, Shareable, SharedCell, Slot, String,
};

/// Seconds after which a process that does not answer counts as hung. No test comes near it.
const WATCHDOG: u64 = 120;

/// The words of a map that all processes change.
pub type Words<'s> = HashMap<'s, String<'s>, u64>;

/// Places for publication.
pub const SLOTS: usize = 2000;

/// Two numbers, of which one is the other's complement but for who is killed in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Shareable, Plain)]
#[repr(C)]
pub struct Pair {
    /// Changed first.
    pub one: u64,
    /// `!one`
    pub other: u64,
}

/// The root of the segments here.
#[derive(Shareable)]
pub struct Board<'s> {
    /// Changed under the lock.
    pub words: Mutex<Words<'s>>,
    /// Begins and stays without an entry, with a table of one process or another.
    pub empty: Mutex<HashMap<'s, u64, u64>>,
    /// Changed in two steps.
    pub pair: Mutex<Pair>,
    /// Published once, then read without a lock.
    pub table: Slot<'s, HashMap<'s, u64, u64>>,
    /// Published one by one, by whoever comes.
    pub slots: [Slot<'s, [u64; 8]>; SLOTS],
    /// Read and written by copying.
    pub cell: SharedCell<Pair>,
    /// Changes made.
    pub changes: AtomicU64,
    /// Deaths within a lock that its next owner was told of.
    pub deaths: AtomicU64,
}

impl<'s> Board<'s> {
    /// The board of a segment; who comes first makes it.
    ///
    /// # Errors
    ///
    /// Those of the root.
    pub fn of(s: Scope<'s>) -> Result<&'s Board<'s>, Error> {
        s.root_or_try_init(|| {
            Ok(Board {
                words: Mutex::new(HashMap::new_in(s.alloc())?),
                empty: Mutex::new(HashMap::new_in(s.alloc())?),
                pair: Mutex::new(Pair { one: 0, other: !0 }),
                table: Slot::new(),
                slots: std::array::from_fn(|_| Slot::new()),
                cell: SharedCell::new(Pair { one: 0, other: !0 }),
                changes: AtomicU64::new(0),
                deaths: AtomicU64::new(0),
            })
        })
    }

    /// The words; a map that a dead process left is replaced by an empty one.
    ///
    /// # Errors
    ///
    /// Those of the lock, and of allocation.
    pub fn words(&self, s: Scope<'s>) -> Result<(MutexGuard<'_, Words<'s>>, bool), Error> {
        match self.words.lock(s) {
            Ok(words) => Ok((words, false)),
            Err(LockError::OwnerDied(orphan)) => {
                self.deaths.fetch_add(1, Ordering::Relaxed);
                Ok((orphan.replace(HashMap::new_in(s.alloc())?), true))
            }
            Err(LockError::Failed(error)) => Err(error),
        }
    }

    /// The pair, repaired if its owner died.
    ///
    /// # Errors
    ///
    /// Those of the lock.
    pub fn pair(&self, s: Scope<'_>) -> Result<(MutexGuard<'_, Pair>, bool), Error> {
        match self.pair.lock(s) {
            Ok(pair) => Ok((pair, false)),
            Err(LockError::OwnerDied(orphan)) => {
                self.deaths.fetch_add(1, Ordering::Relaxed);
                Ok((orphan.repair(|pair| pair.other = !pair.one), true))
            }
            Err(LockError::Failed(error)) => Err(error),
        }
    }
}

/// An unused name for a segment.
#[must_use]
pub fn name() -> std::string::String {
    static SERIAL: AtomicUsize = AtomicUsize::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("shm:psm-rust-{}-{serial}", std::process::id())
}

/// The file of a segment.
#[must_use]
pub fn file(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name.strip_prefix("shm:").unwrap_or(name))
}

/// The top of the source tree.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A process that answers each line with one line, "ok ..." or "error ...".
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Dropped when the process ends, which calls the watchdog off.
    _watchdog: mpsc::Sender<()>,
}

impl Process {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Process {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let (watchdog, ended) = mpsc::channel::<()>();
        let pid = child.id();
        std::thread::spawn(move || {
            let waited = ended.recv_timeout(Duration::from_secs(WATCHDOG));
            if waited == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("process {pid} hung for {WATCHDOG} s");
                kill(pid);
            }
        });
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Process { child, input, output, _watchdog: watchdog }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    pub fn send(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it has not been ended");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("it listens");
    }

    /// Receives a line.
    ///
    /// # Panics
    ///
    /// If the process ends instead.
    pub fn hear(&mut self) -> std::string::String {
        let mut line = std::string::String::new();
        self.output.read_line(&mut line).expect("it speaks text");
        assert!(line.ends_with('\n'), "process {} ended: {line:?}", self.id());
        line.truncate(line.len() - 1);
        line
    }

    /// The numbers of an answer.
    ///
    /// # Panics
    ///
    /// If the answer is an error.
    pub fn receive(&mut self) -> Vec<u64> {
        let line = self.hear();
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("ok"), "process {} says {line:?}", self.id());
        words.map(number).collect()
    }

    /// Sends a line and receives the numbers of the answer.
    pub fn ask(&mut self, line: &str) -> Vec<u64> {
        self.send(line);
        self.receive()
    }

    /// Kills it with SIGKILL, and waits for its end.
    ///
    /// # Panics
    ///
    /// If it ended in another way.
    pub fn kill(&mut self) {
        use std::os::unix::process::ExitStatusExt;
        self.child.kill().expect("it runs");
        let status = self.child.wait().expect("it is a child");
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    }

    /// Closes its input, and waits for its end.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn end(mut self) {
        self.input = None;
        let status = self.child.wait().expect("it is a child");
        assert!(status.success(), "process {} ended with {status}", self.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn kill(pid: u32) {
    // SAFETY: it is a child that has not been waited for, or its end has called this off.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}

fn number(word: &str) -> u64 {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{word} is no number"))
}

/// Pseudo-random numbers, the same as those of the peers in C and Python.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Compiles a C program with the core, once in a test run.
///
/// # Panics
///
/// If there is no C compiler, or the program is wrong.
#[must_use]
pub fn compile(source: &Path, program: &Path) -> PathBuf {
    static COMPILING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = COMPILING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut words = compiler.split(' ');
    let status = Command::new(words.next().expect("there is a first word"))
        .args(words)
        .args(["-std=gnu11", "-O2", "-pthread", "-o"])
        .arg(program)
        .arg(source)
        .arg(root().join("core/psm.c"))
        .arg("-I")
        .arg(root().join("include"))
        .arg("-I")
        .arg(root().join("core"))
        .status()
        .expect("there is a C compiler");
    assert!(status.success(), "{} does not compile", source.display());
    program.to_owned()
}

/// A Python that has the package `psm`; if there is none, a line says that the test is skipped.
#[must_use]
pub fn python() -> Option<Arc<Path>> {
    let own = root().join(".venv/bin/python");
    let python = std::env::var_os("PSM_PYTHON").map_or(own, PathBuf::from);
    let has_psm = Command::new(&python).args(["-c", "import psm"]).stderr(Stdio::null()).status();
    if has_psm.is_ok_and(|status| status.success()) {
        return Some(python.into());
    }
    println!("skipped: {} has no package psm; tools/setup.sh python makes it", python.display());
    None
}
