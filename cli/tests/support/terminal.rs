//! A pseudo-terminal with an emulator that interprets what a command writes to it.

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use super::wait_until;

/// Maximum number of rows that leave the screen and are kept.
const MAX_SCROLLBACK: usize = 10_000;

/// What commands see of the terminal, unless a test sets it.
const ENVIRONMENT: &[(&str, Option<&str>)] = &[
    ("TERM", Some("xterm-256color")),
    ("NO_COLOR", None),
    ("CI", None),
    ("CLICOLOR", None),
    ("CLICOLOR_FORCE", None),
    ("COLORTERM", None),
    ("TMUX", None),
    ("TERM_PROGRAM", None),
    ("VTE_VERSION", None),
];

pub struct Terminal {
    master: File,
    state: Arc<Mutex<State>>,
    child: Child,
}

struct State {
    emulator: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Runs a command in a terminal of this size, on whose screen `before` was written.
    pub fn run(command: &mut Command, columns: u16, rows: u16, before: &str) -> Self {
        Self::start(command, (columns, rows), (columns, rows), before)
    }

    /// Runs a command in a terminal of this size that does not report it.
    pub fn run_without_size(command: &mut Command, columns: u16, rows: u16) -> Self {
        Self::start(command, (columns, rows), (0, 0), "")
    }

    fn start(command: &mut Command, (columns, rows): (u16, u16), reported: (u16, u16), before: &str) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        set_size(&master, reported.0, reported.1);
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let open = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
        for (name, value) in ENVIRONMENT {
            let is_set = command.get_envs().any(|(set, _)| set == *name);
            match value {
                _ if is_set => {}
                Some(value) => drop(command.env(name, value)),
                None => drop(command.env_remove(name)),
            }
        }
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        let mut emulator = vt100::Parser::new(rows, columns, MAX_SCROLLBACK);
        emulator.process(before.as_bytes());
        let state = Arc::new(Mutex::new(State { emulator, bytes: Vec::new() }));
        let master = File::from(master);
        let (mut reader, written) = (master.try_clone().unwrap(), state.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Reading fails once no process has the terminal open.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let mut state = written.lock().unwrap();
                state.emulator.process(&buffer[..length]);
                state.bytes.extend_from_slice(&buffer[..length]);
            }
        });
        Self { master, state, child }
    }

    /// Returns the rows of the screen, without empty ones at the end.
    pub fn screen(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let text = state.emulator.screen().contents();
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until the screen fulfills a condition, and returns it.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut screen = Vec::new();
        wait_until(|| {
            screen = self.screen();
            condition(&screen)
        })
        .unwrap_or_else(|()| panic!("timeout: {what}:\n{}", screen.join("\n")));
        screen
    }

    /// Returns the number of rows that have left the screen at its top.
    pub fn scrollback(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        let screen = state.emulator.screen_mut();
        screen.set_scrollback(usize::MAX);
        let rows = screen.scrollback();
        screen.set_scrollback(0);
        rows
    }

    /// Returns everything that was written so far.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().unwrap().bytes).into_owned()
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        self.state.lock().unwrap().emulator.screen_mut().set_size(rows, columns);
        set_size(&self.master, columns, rows);
    }

    /// Sends keys to the command.
    pub fn type_keys(&self, keys: &str) {
        (&self.master).write_all(keys.as_bytes()).unwrap();
    }

    /// Sends what may be more than the command reads, in a thread that ends with the terminal.
    pub fn paste(&self, text: String) {
        let mut master = self.master.try_clone().unwrap();
        // Fails once no process has the terminal open.
        std::thread::spawn(move || drop(master.write_all(text.as_bytes())));
    }

    /// Whether the terminal passes each key on at once, and none of them is a signal.
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.master).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO)
    }

    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Whether the command has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until the command ends, and returns its exit code.
    pub fn finish(&mut self) -> Option<i32> {
        let mut code = None;
        let ended = wait_until(|| {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        ended.expect("the command ends");
        code.and_then(|status| status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(master: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).unwrap();
}
