/*
 * The signer's role: the only process that holds private keys, and the only one that may read key
 * columns. It signs what a ticket allows, and answers nothing else. Its loop owns channels, keyring
 * and database; its threads only sign.
 */
#ifndef FEDPUSH_SIG_SIGNER_H
#define FEDPUSH_SIG_SIGNER_H

/* Runs the role on CONTROL_FD; returns the exit code. */
int signer_main(void);

#endif
