# The machine alone: boots, keeps time, counts its processors, turns off.
cat /sys/devices/system/clocksource/clocksource0/current_clocksource
date -u +%Y
