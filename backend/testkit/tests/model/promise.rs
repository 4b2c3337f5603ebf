//! The promises of the protocol.

/// What must always hold; the numbers are those of the invariants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// 1. A terminal status never changes.
    TerminalStays,
    /// 2. At most one lease of a job is valid, and only its reports count.
    OneLease,
    /// 3. An attempt starts only when the job's needs hold.
    NeedsHold,
    /// 4. Every execution ends. Judged of single jobs; [`super::liveness`] shows it of executions.
    Ends,
    /// 5. One key makes one execution.
    OneExecution,
    /// 6. The final status follows from the jobs and is written once.
    FinalStatus,
    /// 7. What was acknowledged stays.
    Acknowledged,
    /// 8. After an acknowledged cancel no attempt starts.
    CancelHolds,
    /// 8. A canceled attempt has only the time that the cancel left it. Judged where there are times: of single jobs.
    CancelInTime,
}

impl Promise {
    pub fn words(self) -> &'static str {
        match self {
            Self::TerminalStays => "1. a terminal status never changes",
            Self::OneLease => "2, 10. one lease is valid, and only its reports count",
            Self::NeedsHold => "3. an attempt starts only when its needs hold",
            Self::Ends => "4. every execution ends",
            Self::OneExecution => "5. one key makes one execution",
            Self::FinalStatus => "6. the final status follows from the jobs and is written once",
            Self::Acknowledged => "7. what was acknowledged stays",
            Self::CancelHolds => "8. after an acknowledged cancel no attempt starts",
            Self::CancelInTime => "8. a canceled attempt is over in time",
        }
    }
}
