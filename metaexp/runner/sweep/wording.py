"""What ``--help`` says of sweeps."""

SWEEPS = """\
sweeps (with -m):
  KEY=A,B,C            every combination of values; also range(0,5) and choice(a,b)
  sweep=NAME           a ready-made sweep, a file of conf/sweep; other overrides come on top
  sweep.n_jobs=2       jobs at once on this machine, each in a process of its own; they share its cores
  sweep.on_error=...   continue (with the other jobs), stop, or retry (sweep.retries=2 times)
  sweep.new=true       begin anew, where the same command has a sweep already
  sweep.reuse=true     take completed runs of the same jobs over, as where seeds are added to a finished sweep
  hydra/launcher=...   joblib, submitit_local, submitit_slurm, ray: where to run jobs, once it is installed

The same command again goes on: finished jobs are kept, interrupted ones resumed, failed ones tried again.
"""
