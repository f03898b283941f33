"""Dispatch: who runs the jobs. A dispatcher claims them, an engine runs each attempt in a process of its own.

``dropout_service.dispatch.config.DispatchConfig``
    What to run with.
``dropout_service.dispatch.launch.DispatcherProcess(config)``
    For ``serve``: the dispatcher as a child process, restarted when it dies, stopped at the end.
``dropout_service.dispatch.launch.become_dispatcher(config)``
    For ``dispatch``: replaces the present process by the dispatcher and does not return.

The database must have been migrated (``dropout_service.database.migrate.upgrade``) before either is called.
``api`` and ``dispatch`` meet in the store alone; importing ``dispatch.launch`` imports neither NumPy nor the stores.
"""
