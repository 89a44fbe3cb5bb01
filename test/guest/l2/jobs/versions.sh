# Loads and unloads the bus driver once for each version that the host end will speak; the log says which it was.
dmesg -n 7
for turn in 1 2 3 4 5 6 7; do
  load_bus
  rmmod hv_vmbus || echo "GUEST: rmmod failed in turn $turn"
done
