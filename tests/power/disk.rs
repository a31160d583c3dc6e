//! A disk that loses power: a file system in a loop image, which the kernel is told to shut down
//! without writing anything more (the ioctl GOINGDOWN that ext4 and XFS have for their own tests).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Says "cut" once the file system at each path it reads is down. Our own code may not call an ioctl
/// that rustix does not know.
const HELPER: &str = "
import fcntl, os, struct, sys
for line in sys.stdin:
    at = os.open(line.rstrip('\\n'), os.O_RDONLY)
    fcntl.ioctl(at, 0x8004587D, struct.pack('I', 2))
    os.close(at)
    print('cut', flush=True)
";

/// A file system that can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    mkfs: &'static [&'static str],
    size_bytes: u64,
}

/// Small ones, as a cut costs less then.
pub(crate) const KINDS: [Kind; 2] = [
    Kind { name: "ext4", mkfs: &["mkfs.ext4", "-q", "-F"], size_bytes: 128 << 20 },
    // The least that mkfs.xfs makes.
    Kind { name: "xfs", mkfs: &["mkfs.xfs", "-q", "-f"], size_bytes: 320 << 20 },
];

/// The disk; unmounted when dropped, which also gives its loop device back.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: tempfile::TempDir,
    helper: Child,
    paths: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Disk {
    /// Makes and mounts it; `Err` says what this machine does not have.
    pub(crate) fn new(kind: Kind) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = folder.path().join("image");
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(kind.size_bytes).map_err(|error| error.to_string())?;
        std::fs::create_dir(folder.path().join("mounted")).map_err(|error| error.to_string())?;
        run(Command::new(kind.mkfs[0]).args(&kind.mkfs[1..]).arg(&image))?;
        let mut helper = Command::new("python3")
            .args(["-c", HELPER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3: {error}"))?;
        let paths = helper.stdin.take().ok_or("no input")?;
        let answers = BufReader::new(helper.stdout.take().ok_or("no output")?);
        let disk = Self { folder, helper, paths, answers };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.folder.path().join("image");
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(self.path()))
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Puts everything that is written so far on it.
    pub(crate) fn sync(&self) -> Result<(), String> {
        run(Command::new("sync").arg("-f").arg(self.path()))
    }

    /// Takes the power away: what was not synced is lost, and every call from now on fails.
    pub(crate) fn cut(&mut self) -> Result<(), String> {
        let path = self.path();
        writeln!(self.paths, "{}", path.display()).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|error| error.to_string())?;
        if answer == "cut\n" { Ok(()) } else { Err("the power cannot be cut".to_owned()) }
    }

    /// Gives it power again. Nobody may have a file of it open.
    pub(crate) fn restore(&self) -> Result<(), String> {
        run(Command::new("umount").arg(self.path()))?;
        self.mount()
    }

    /// Whether the power can be cut at all.
    pub(crate) fn try_out(&mut self) -> Result<(), String> {
        self.cut()?;
        self.restore()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while a test fails: then a process that is about to end may still be in it.
        let gone = run(Command::new("umount").arg(self.path()));
        if gone.is_err() {
            let _ = run(Command::new("umount").arg("-l").arg(self.path()));
        }
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
