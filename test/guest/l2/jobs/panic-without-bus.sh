# Kills the kernel, which tells its console only.
echo c >/proc/sysrq-trigger
