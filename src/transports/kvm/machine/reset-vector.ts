/**
 * The first instruction of a PC's firmware, at ffff:0000: here, it resets the machine.
 *
 * A Linux guest with hardware-reduced ACPI takes it for an EFI machine when it restarts; finding no EFI, it goes back to
 * real mode and jumps here, whatever reset register the firmware tables name.
 *
 * Source: Linux `arch/x86/platform/efi/quirks.c` `efi_reboot_required`, `arch/x86/realmode/rm/reboot.S`.
 */
import { RESET_PORT, RESET_VALUE } from './power-ports.ts';

export const RESET_VECTOR_ADDRESS = 0xffff0;

/** 16-bit code, less than the 16 bytes that there are. */
// biome-ignore format: one instruction per line
export const RESET_CODE = Uint8Array.of(
  0xba, RESET_PORT & 0xff, RESET_PORT >> 8, // mov dx, reset port
  0xb0, RESET_VALUE, //                        mov al, reset value
  0xee, //                                     out dx, al
  0xf4, 0xeb, 0xfd, //                   stop: hlt; jmp stop
);
