# Inside the emulated machine's disk: runs the scenarios with the installed package, then packs the results onto the
# second disk.
export PATH=/usr/bin:/bin HOME=/tmp
mkdir -p /tmp/results
cd /test
node scenarios/main.js /test/plan.json /tmp/results
echo "HOST: scenarios ended with status $?"
tar -cf /dev/vdb -C /tmp/results .
