"""The process and the files of this machine: signals, other processes, launch directory, garbage collector."""
