//! A terminal that a test looks at.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// A command in a terminal of its own. Ends with the test.
pub struct Terminal {
    pub child: Child,
    controller: File,
    written: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    pub fn run(command: Command, columns: u16, lines: u16) -> Self {
        Self::with(command, columns, lines, None)
    }

    /// One that has the command's stderr; what it prints goes into a pipe.
    pub fn of_stderr(command: Command, columns: u16, lines: u16) -> (Self, ChildStdout) {
        let mut terminal = Self::with(command, columns, lines, Some(Stdio::piped()));
        let printed = terminal.child.stdout.take().unwrap();
        (terminal, printed)
    }

    fn with(mut command: Command, columns: u16, lines: u16, stdout: Option<Stdio>) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let path = std::ffi::OsStr::from_bytes(name.as_bytes()).to_owned();
        let controller = File::from(controller);
        tcsetwinsize(&controller, size(columns, lines)).unwrap();
        let user = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let end = || Stdio::from(user.try_clone().unwrap());
        let child =
            command.env("TERM", "xterm").stdin(end()).stdout(stdout.unwrap_or_else(end)).stderr(end()).spawn().unwrap();
        // Its own ends are closed with it: else nobody learns that the child's are.
        drop(command);
        let (writes, written) = channel();
        let mut reader = controller.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut part) {
                if writes.send(part[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, controller, written, seen: String::new() }
    }

    /// Makes the terminal another size, and tells as a terminal does.
    pub fn resize(&self, columns: u16, lines: u16) {
        tcsetwinsize(&self.controller, size(columns, lines)).unwrap();
        self.signal("-WINCH");
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// The first complete screen from now on that is like this.
    pub fn screen(&mut self, like: impl Fn(&[String]) -> bool) -> Vec<String> {
        loop {
            let screens: Vec<_> = self.seen.split("\x1b[H").skip(1).collect();
            let complete = screens.iter().filter_map(|screen| screen.split_once("\x1b[J")).map(|(screen, _)| screen);
            let found = complete.map(lines_of).find(|screen| like(screen));
            if let Some(screen) = found {
                return screen;
            }
            let part = self.written.recv_timeout(Duration::from_secs(60));
            let part = part.unwrap_or_else(|_| panic!("no such screen: {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&part));
        }
    }

    /// Waits for a line.
    pub fn first_line(&mut self) {
        while !self.seen.contains('\n') {
            let part = self.written.recv_timeout(Duration::from_secs(60)).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&part));
        }
    }

    /// Whether this has been written, or is within that time.
    pub fn sees(&mut self, text: &str, within: Duration) -> bool {
        if let Ok(part) = self.written.recv_timeout(within) {
            self.seen.push_str(&String::from_utf8_lossy(&part));
        }
        self.seen.contains(text)
    }

    /// Forgets the screens so far.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// Everything written until the command ended, and how it did.
    pub fn ended(mut self) -> (String, Option<i32>) {
        let code = self.child.wait().unwrap().code();
        while let Ok(part) = self.written.recv_timeout(Duration::from_secs(60)) {
            self.seen.push_str(&String::from_utf8_lossy(&part));
        }
        (std::mem::take(&mut self.seen), code)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Without what only colours and clears.
fn lines_of(screen: &str) -> Vec<String> {
    let plain = screen.replace("\x1b[K", "").replace("\x1b[1m", "").replace("\x1b[0m", "");
    plain.split("\r\n").map(str::to_owned).collect()
}
