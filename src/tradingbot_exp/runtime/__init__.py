"""The process and the package on this machine: signals, other processes, files, the garbage collector."""
