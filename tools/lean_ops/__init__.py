"""The command line, the local stack and the event simulator, in rooms on floors (docs/tour.md).

Their errors hang in the tree of ``common.runtime.errors``, which decides how a command ends:

    PermanentError      TargetRefused, TableUnreadable, UnknownPlaceholder, CatalogueError (environment),
                        LocalStackError, JobRefused (local), SnowflakeNotConfigured (commands),
                        CheckFailed, UnmarkedPage, PlanFailed (checks), DownloadFailed, MissingSource,
                        ForeignArchive, ForeignBinary, UnlockedDependency, PackageTooLarge, NotCompiled,
                        BrokenPackage (build), MissingPrice, SettingUnknown, WorkUnreadable (operate)
    InvalidInput        NoRelease (operate)
    TransientError      TargetUnreachable (environment), HoldLost, OrderFailed, CheckpointMoved (operate)
"""
